"""The gRPC services: thin adapters from ServerCore to the real stubs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.errors import Code, StatusError
from serving.model_server.authentication import CallerSecret, SecretInterceptor
from serving.model_server.core import ServerCore
from serving.model_server.limits import ConcurrencyLimit
from serving.model_server.management.reload import handle_reload_config
from serving.model_server.monitoring.metrics import record_request
from serving.model_server.options import ServerOptions
from serving.model_server.rpc.channel_arguments import parse_channel_arguments
from serving.model_server.rpc.handlers import Methods, add_service
from serving.model_server.rpc.health import HealthService
from serving.model_server.rpc.pools import MAX_RELOADS, Pools
from serving.model_server.rpc.ports import add_ports
from serving.model_server.rpc.profiler import ProfilerService
from serving.model_server.threads import seconds_until

_logger = logging.getLogger(__name__)

_MAX_MESSAGE = 1024
_SECONDS_TO_GIVE_UP = 1.0
_LONGEST_SECONDS = 1e9
_ARGUMENTS: dict[str, int | str] = {
    # Unlimited, as TensorFlow Serving: clients have their own limits.
    "grpc.max_send_message_length": -1,
    "grpc.max_receive_message_length": -1,
    # Otherwise a second server would silently share the port.
    "grpc.so_reuseport": 0,
    # By default 120 s, in which connections that say nothing keep others out.
    "grpc.server_handshake_timeout_ms": 10_000,
}


class PredictionService:
    """Inference on models, and their metadata."""

    def __init__(self, core: ServerCore):
        self._core = core

    def methods(self, pools: Pools) -> Methods:
        """For `add_service`."""
        run = pools.predictions
        return {
            "Predict": (
                self.Predict,
                predict_pb2.PredictRequest,
                predict_pb2.PredictResponse,
                run,
            ),
            "Classify": (
                self.Classify,
                classification_pb2.ClassificationRequest,
                classification_pb2.ClassificationResponse,
                run,
            ),
            "Regress": (
                self.Regress,
                regression_pb2.RegressionRequest,
                regression_pb2.RegressionResponse,
                run,
            ),
            "MultiInference": (
                self.MultiInference,
                inference_pb2.MultiInferenceRequest,
                inference_pb2.MultiInferenceResponse,
                run,
            ),
            "GetModelMetadata": (
                self.GetModelMetadata,
                get_model_metadata_pb2.GetModelMetadataRequest,
                get_model_metadata_pb2.GetModelMetadataResponse,
                pools.quick,
            ),
        }

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Run one signature."""
        return self._infer("Predict", self._core.predict, request, context)

    def Classify(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Classes of tf.Examples."""
        return self._infer("Classify", self._core.classify, request, context)

    def Regress(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Return a value for each tf.Example."""
        return self._infer("Regress", self._core.regress, request, context)

    def MultiInference(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Several classifications and regressions of the same tf.Examples."""
        return self._infer("", self._core.multi_inference, request, context)

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Signatures of a model."""
        return _answer(self._core.model_metadata, request, context)

    def _infer(
        self, api: str, method: Callable[..., Any], request: Any, context: grpc.ServicerContext
    ) -> Any:
        """Answers within the limits; counts the request if `api` names what to count it as."""
        start = time.perf_counter()
        concurrency = self._core.concurrency
        try:
            concurrency.enter()
            try:
                response = method(request, deadline=_deadline(context))
            finally:
                concurrency.leave()
        except Exception as error:
            failure = _status_of(error)
            # With its traceback it would refer to this frame, which refers to it, and keep the
            # request until the garbage collector comes by.
            status = StatusError(failure.code, failure.message)
            del failure
            if api:
                name = self._core.known_model(request.model_spec.name)
                record_request(name, api, "GRPC", status.code.name, start)
            _abort(context, status)
        if api:
            record_request(request.model_spec.name, api, "GRPC", "OK", start)
        return response


class ModelService:
    """States of models, and exchanging the list of them."""

    def __init__(self, core: ServerCore):
        self._core = core
        self._reloads = ConcurrencyLimit(MAX_RELOADS)

    def methods(self, pools: Pools) -> Methods:
        """For `add_service`."""
        return {
            "GetModelStatus": (
                self.GetModelStatus,
                get_model_status_pb2.GetModelStatusRequest,
                get_model_status_pb2.GetModelStatusResponse,
                pools.quick,
            ),
            "HandleReloadConfigRequest": (
                self.HandleReloadConfigRequest,
                model_management_pb2.ReloadConfigRequest,
                model_management_pb2.ReloadConfigResponse,
                pools.reloads,
            ),
        }

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:
        """States of the versions of a model."""
        return _answer(self._core.model_status, request, context)

    def HandleReloadConfigRequest(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Another list of models; the status is in the response and also that of the call."""
        context.add_callback(self._core.manager.wake)
        try:
            self._reloads.enter()
        except StatusError:
            text = f"{MAX_RELOADS} reloads are waiting for their models already. Try again later."
            _abort(context, StatusError(Code.RESOURCE_EXHAUSTED, text))
        try:
            response = handle_reload_config(self._core, request, lambda: not context.is_active())
        finally:
            self._reloads.leave()
        if response.status.error_code:
            context.set_code(grpc.StatusCode[Code(response.status.error_code).name])
            context.set_details(_cut(response.status.error_message))
        return response


class GrpcServer:
    """All gRPC services on the ports that the options name; it answers from the start.

    Attributes:
        port: of TCP, a free one if the options leave it open; None if there is only a UNIX socket.

    Raises:
        ServingError: an address that cannot be bound.
    """

    def __init__(
        self,
        core: ServerCore,
        options: ServerOptions,
        credentials: grpc.ServerCredentials | None,
        most_connections: int,
    ):
        # More threads than requests at a time: some are left to refuse the others.
        self._pools = Pools(max(options.grpc_max_threads, options.max_concurrent_requests + 2))
        arguments = {
            **_ARGUMENTS,
            "grpc.max_allowed_incoming_connections": most_connections,
            **parse_channel_arguments(options.grpc_channel_arguments),
        }
        if options.max_request_bytes:
            arguments["grpc.max_receive_message_length"] = options.max_request_bytes
        interceptors = []
        if options.caller_secret_file:
            interceptors.append(SecretInterceptor(CallerSecret.load(options.caller_secret_file)))
        self._server = grpc.server(
            self._pools.predictions, interceptors=interceptors, options=list(arguments.items())
        )
        self._health = HealthService(self._pools.quick)
        self._profiler = ProfilerService(self._pools.profiler, self._pools.quick)
        for service in (PredictionService(core), ModelService(core)):
            name = f"tensorflow.serving.{type(service).__name__}"
            add_service(self._server, name, service.methods(self._pools))
        if options.enable_grpc_healthcheck_service:
            self._server.add_generic_rpc_handlers((self._health.handler(),))
        if options.enable_profiler:
            self._server.add_generic_rpc_handlers((self._profiler.handler(),))
        self.port = add_ports(self._server, options, credentials)
        self._server.start()

    def stop(self, grace: float) -> bool:
        """Refuse new calls, and return when the others have ended.

        Args:
            grace: seconds after which their callers are told that they were cancelled.

        Returns:
            Whether all have ended; a second later at most.
        """
        self._health.stop()
        self._profiler.stop()
        end = time.monotonic() + grace + _SECONDS_TO_GIVE_UP
        has_stopped = self._server.stop(grace).wait(seconds_until(end))
        return self._pools.wait(seconds_until(end)) and has_stopped


def _answer(method: Callable[[Any], Any], request: Any, context: grpc.ServicerContext) -> Any:
    try:
        return method(request)
    except Exception as error:
        _abort(context, _status_of(error))


def _status_of(error: Exception) -> StatusError:
    if isinstance(error, StatusError):
        return error
    # A mistake of ours: the sender learns that, and the log where.
    _logger.error("A request failed", exc_info=error)
    return StatusError(Code.INTERNAL, "Internal error of the server.")


def _abort(context: grpc.ServicerContext, status: StatusError) -> None:
    context.abort(grpc.StatusCode[status.code.name], _cut(status.message))


def _deadline(context: grpc.ServicerContext) -> float | None:
    """Until when the caller waits, as `time.monotonic()`; None if it does not say.

    Raises:
        StatusError: CANCELLED, it has left while its request waited for a thread.
    """
    if not context.is_active():
        raise StatusError(Code.CANCELLED, "The caller has left")
    remaining = context.time_remaining()
    # Without a deadline gRPC says 300 years, which is more milliseconds than TensorFlow counts.
    if remaining is None or remaining > _LONGEST_SECONDS:
        return None
    return time.monotonic() + remaining


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_MESSAGE else text[:_MAX_MESSAGE] + "...TRUNCATED"
