"""grpc.health.v1.Health, as TensorFlow Serving answers it.

Written here rather than taken from grpcio-health-checking: its generated code wants a newer
protobuf than TensorFlow has, and its servicer keeps streams of Watch open when the server stops,
and with them the server.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable
from typing import Any

import grpc

from serving.model_server.rpc.handlers import handler, parser
from serving.model_server.threads import HandlerPool
from serving.wire import HealthCheckRequest, HealthCheckResponse

# "" is the server as a whole. TensorFlow Serving leaves the package out of the other two.
SERVICES = ("", "ModelService", "PredictionService")


class Status(enum.IntEnum):
    """HealthCheckResponse.ServingStatus."""

    SERVING = 1
    NOT_SERVING = 2
    SERVICE_UNKNOWN = 3


class HealthService:
    """All services are SERVING until `stop`.

    Args:
        pool: answers, while predictions fill others.
    """

    def __init__(self, pool: HandlerPool) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._stopped = False
        self._watchers: set[Callable[[Any], None]] = set()

    def handler(self) -> grpc.GenericRpcHandler:
        """For `add_generic_rpc_handlers` of a server."""

        watch = handler(self.watch, self._pool)
        # So that a stream does not hold one of the threads that answer requests.
        watch.experimental_non_blocking = True  # type: ignore[attr-defined]
        formats = (parser(HealthCheckRequest), HealthCheckResponse.SerializeToString)
        return grpc.method_handlers_generic_handler(
            "grpc.health.v1.Health",
            {
                "Check": grpc.unary_unary_rpc_method_handler(
                    handler(self.check, self._pool), *formats
                ),
                "Watch": grpc.unary_stream_rpc_method_handler(watch, *formats),
            },
        )

    def check(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Return the state now."""
        if request.service not in SERVICES:
            context.abort(grpc.StatusCode.NOT_FOUND, "service name unknown")
        return self._response(request.service)

    def watch(
        self, request: Any, context: grpc.ServicerContext, send: Callable[[Any], None]
    ) -> None:
        """The state now, and each later one; the stream ends with the server.

        Args:
            request: a HealthCheckRequest.
            context: of the stream; its end ends the watching.
            send: takes a response, or None at the end.
        """

        def forget() -> None:
            with self._lock:
                self._watchers.discard(send)

        now = self._response(request.service)
        send(now)
        with self._lock:
            if not self._stopped:
                self._watchers.add(send)
                context.add_callback(forget)
                return
        if now.status != Status.NOT_SERVING:  # stopped since
            send(HealthCheckResponse(status=Status.NOT_SERVING))
        send(None)

    def stop(self) -> None:
        """Says NOT_SERVING to all who watch, and ends their streams."""
        with self._lock:
            self._stopped = True
            watchers = list(self._watchers)
            self._watchers.clear()
        for send in watchers:
            send(HealthCheckResponse(status=Status.NOT_SERVING))
            send(None)

    def _response(self, service: str) -> Any:
        if service not in SERVICES:
            return HealthCheckResponse(status=Status.SERVICE_UNKNOWN)
        return HealthCheckResponse(status=Status.NOT_SERVING if self._stopped else Status.SERVING)
