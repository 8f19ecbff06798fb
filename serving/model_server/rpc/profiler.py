"""tensorflow.ProfilerService: what `tf.profiler.experimental.client.trace` and TensorBoard ask.

Messages and their numbers as in tensorflow/core/profiler/profiler_service.proto, which TensorFlow's
package does not ship. The trace is written where the request says, on this machine: a response that
carries it makes the client of TensorFlow 2.21 crash.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import tensorflow as tf

from serving.descriptors import build_messages
from serving.model_server.rpc.handlers import unary_handlers
from serving.model_server.threads import HandlerPool

_logger = logging.getLogger(__name__)

_message_class = build_messages(
    "tensorflow",
    {
        # tsl/profiler/protobuf/profiler_options.proto
        "ProfileOptions": {
            "host_tracer_level": (2, "uint32"),
            "device_tracer_level": (3, "uint32"),
            "python_tracer_level": (4, "uint32"),
            "version": (5, "uint32"),
            "start_timestamp_ns": (8, "uint64"),
            "duration_ms": (9, "uint64"),
        },
        "ProfileRequest": {
            "duration_ms": (1, "uint64"),
            "opts": (4, "ProfileOptions"),
            "repository_root": (5, "string"),
            "session_id": (6, "string"),
            "host_name": (7, "string"),
        },
        "ProfileResponse": {"empty_trace": (7, "bool")},
        "TerminateRequest": {"session_id": (1, "string")},
        "TerminateResponse": {},
    },
)
ProfileRequest = _message_class("ProfileRequest")
ProfileResponse = _message_class("ProfileResponse")
TerminateRequest = _message_class("TerminateRequest")
TerminateResponse = _message_class("TerminateResponse")

_NAME = "tensorflow.ProfilerService"
# How long a client that went away may go unnoticed.
_LOOK_SECONDS = 0.2


class ProfilerService:
    """Profile and Terminate; one trace at a time, as TensorFlow can take no more.

    Args:
        pool: traces.
        quick: ends traces.
    """

    def __init__(self, pool: HandlerPool, quick: HandlerPool) -> None:
        self._pool, self._quick = pool, quick
        self._changed = threading.Condition()
        self._session: str | None = None
        self._terminated = False

    def handler(self) -> grpc.GenericRpcHandler:
        """For `add_generic_rpc_handlers` of a server."""
        return grpc.method_handlers_generic_handler(
            _NAME,
            unary_handlers(
                {
                    "Profile": (self.profile, ProfileRequest, ProfileResponse, self._pool),
                    "Terminate": (
                        self.terminate,
                        TerminateRequest,
                        TerminateResponse,
                        self._quick,
                    ),
                }
            ),
        )

    def profile(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Traces for `duration_ms`, or until Terminate, and writes the trace.

        The file is `<repository_root>/<session_id>/<host_name>.xplane.pb`; the client of TensorFlow
        sends `plugins/profile` in its log folder as the root, which is where TensorBoard looks.
        """
        session = request.session_id or time.strftime("%Y_%m_%d_%H_%M_%S")
        host = (request.host_name or socket.gethostname()).replace(":", "_")
        if not request.repository_root:
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, "repository_root is empty: it is where to write."
            )
        for name in (session, host):
            # Below the repository, whatever the client says.
            if "/" in name or name in ("", ".", ".."):
                context.abort(
                    grpc.StatusCode.INVALID_ARGUMENT, f"Not the name of a file or folder: {name}"
                )
        target = f"{request.repository_root}/{session}/{host}.xplane.pb"
        with self._one_session(session, context):
            trace = self._trace(request, context)
        try:
            tf.io.gfile.makedirs(target.rpartition("/")[0])
            with tf.io.gfile.GFile(target, "wb") as file:
                file.write(trace)
        except tf.errors.OpError as error:
            context.abort(grpc.StatusCode.INTERNAL, f"Cannot write {target}: {error.message}")
        _logger.info("Wrote the profile %s", target)
        return ProfileResponse()

    def terminate(self, request: Any, context: grpc.ServicerContext) -> Any:
        """End the session of that name, if it is the one that runs, before its time."""
        with self._changed:
            if self._session == request.session_id:
                self._terminated = True
                self._changed.notify_all()
        return TerminateResponse()

    def stop(self) -> None:
        """End the session that runs, so that a server that stops need not wait for it."""
        with self._changed:
            self._terminated = True
            self._changed.notify_all()

    @contextlib.contextmanager
    def _one_session(self, session: str, context: grpc.ServicerContext) -> Iterator[None]:
        with self._changed:
            taken = self._session is not None
            if not taken:
                self._session, self._terminated = session, False
        if taken:
            context.abort(grpc.StatusCode.ALREADY_EXISTS, "Another profiler session is active.")
        try:
            yield
        finally:
            with self._changed:
                self._session = None

    def _trace(self, request: Any, context: grpc.ServicerContext) -> bytes:
        """Return a serialized XSpace."""
        self._wait_until(request.opts.start_timestamp_ns / 1e9, context)
        with tempfile.TemporaryDirectory() as folder:
            try:
                tf.profiler.experimental.start(folder, _options(request.opts))
            except tf.errors.AlreadyExistsError as error:
                context.abort(grpc.StatusCode.ALREADY_EXISTS, error.message)
            try:
                seconds = (request.duration_ms or request.opts.duration_ms) / 1e3
                self._wait_until(time.time() + seconds, context)
            finally:
                tf.profiler.experimental.stop()
            (trace,) = Path(folder).glob("plugins/profile/*/*.xplane.pb")
            return trace.read_bytes()

    def _wait_until(self, moment: float, context: grpc.ServicerContext) -> None:
        """Return at that time, or when the session is terminated or the client is gone."""
        with self._changed:
            while not self._terminated and context.is_active():
                seconds = moment - time.time()
                if seconds <= 0:
                    return
                self._changed.wait(min(seconds, _LOOK_SECONDS))


def _options(options: Any) -> tf.profiler.experimental.ProfilerOptions:
    if not options.version:
        # Not filled in: TensorFlow's defaults.
        return tf.profiler.experimental.ProfilerOptions()
    return tf.profiler.experimental.ProfilerOptions(
        host_tracer_level=options.host_tracer_level,
        python_tracer_level=options.python_tracer_level,
        device_tracer_level=options.device_tracer_level,
    )
