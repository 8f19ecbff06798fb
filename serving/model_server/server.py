"""The embedded model server: options, start, readiness, draining."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from serving.errors import ServingError, StatusError
from serving.model_server.addresses import bind, host_port
from serving.model_server.connection_limits import connection_limits
from serving.model_server.core import ServerCore
from serving.model_server.models.memory import release_memory
from serving.model_server.options import ServerOptions
from serving.model_server.periodic import Periodic
from serving.model_server.rest.options import RestOptions, read_rest_options
from serving.model_server.rest.server import RestServer
from serving.model_server.rpc.credentials import server_credentials
from serving.model_server.rpc.ports import check_socket_path
from serving.model_server.rpc.services import GrpcServer
from serving.model_server.threads import ends, seconds_until

_logger = logging.getLogger(__name__)

# Kubernetes kills 30 s after SIGTERM.
_GRACE_SECONDS = 25.0
_SECONDS_BETWEEN_TRIMS = 10.0
# How long a stop waits for what nobody wants any more.
_SECONDS_TO_GIVE_UP = 1.0


class ModelServer:
    """Loads the configured models, then opens the ports: an open port means ready.

    As a context manager it is ready inside the block and stopped after it.
    """

    def __init__(self, options: ServerOptions):
        self.options = options
        self.grpc_port: int | None = None
        self.rest_port: int | None = None
        self._core: ServerCore | None = None
        self._grpc_server: GrpcServer | None = None
        self._grpc_credentials: Any = None
        self._rest_options: RestOptions | None = None
        self._rest_server: RestServer | None = None
        self._pollers: list[Periodic] = []
        self._bring_up: threading.Thread | None = None
        self._failure: Exception | None = None
        self._settled = threading.Event()
        self._stopped = False
        self._lock = threading.Lock()

    def start(self) -> None:
        """Check options, ports and configuration and begins loading; returns at once.

        Raises:
            ServingError: a port that is in use.
            StatusError: options or a configuration that are refused.
        """
        self.options.validate()
        for name in self.options.without_effect():
            _logger.warning("--%s has no effect in this server.", name)
        _check_ports(self.options)
        self._grpc_credentials = server_credentials(self.options)
        config = self.options.read_config()
        self._rest_options = read_rest_options(self.options)
        self._core = ServerCore(self.options)
        try:
            # Whether there are versions is looked up below: a file system may take its time.
            self._core.reload_config(config, look=False)
        except StatusError:
            self._core.stop()
            raise
        self._bring_up = threading.Thread(target=self._open_when_loaded, name="start", daemon=True)
        self._bring_up.start()

    def wait_until_ready(self, timeout: float | None = None) -> None:
        """Return when the ports are open.

        Raises:
            StatusError: models that could not be loaded.
            ServingError: not ready after `timeout` seconds, or a port was taken meanwhile.
        """
        if not self._settled.wait(timeout):
            raise ServingError(
                f"The model server was not ready within {timeout:g} s: its models are still being "
                "loaded, or a base path holds no version yet (see the log)."
            )
        if self._failure is not None:
            raise self._failure

    def stop(self, grace: float = _GRACE_SECONDS) -> bool:
        """Refuse new requests, let those under way end, give up loads, and unload.

        Args:
            grace: seconds that requests under way may still take.

        Returns:
            Whether all has ended. A request that took longer, or a load that hangs in TensorFlow or
            in a file system, cannot be ended: their threads are left behind, seconds after the
            grace at most.
        """
        with self._lock:
            if self._stopped:
                return True
            self._stopped = True
        end = time.monotonic() + grace
        if self._core is not None:
            self._core.begin_stop()
        ended = [poller.stop(_SECONDS_TO_GIVE_UP) for poller in self._pollers]
        if self._rest_server is not None:
            self._rest_server.begin_stop(grace)
        if self._grpc_server is not None:
            ended.append(self._grpc_server.stop(seconds_until(end)))
        if self._rest_server is not None:
            ended.append(self._rest_server.join(seconds_until(end) + _SECONDS_TO_GIVE_UP))
        if self._core is not None:
            ended.append(self._core.stop(seconds_until(end)))
        if self._bring_up is not None:
            ended.append(ends(self._bring_up, time.monotonic() + _SECONDS_TO_GIVE_UP))
        return all(ended)

    def serve_forever(
        self,
        grace: float = _GRACE_SECONDS,
        on_ready: Callable[[ModelServer], None] | None = None,
    ) -> bool:
        """Serve until SIGTERM or SIGINT, then drain and return. For the main thread.

        Args:
            grace: seconds that requests under way may still take.
            on_ready: called once, with this server, when the ports are open.

        Returns:
            Whether all has ended; see `stop`. If not, the end of the process may wait for what has
            not: `process.end_process` does not.

        Raises:
            ServingError: as `start` and `wait_until_ready`.
        """
        with _termination_signals() as received:
            try:
                self.start()
                while not self._settled.is_set() and not received(0.1):
                    pass
                if self._settled.is_set():
                    self.wait_until_ready()
                    if on_ready is not None:
                        on_ready(self)
                    while not received(None):
                        pass
            finally:
                has_ended = self.stop(grace)
        return has_ended

    def __enter__(self) -> ModelServer:
        try:
            self.start()
            self.wait_until_ready()
        except BaseException:
            self.stop(0)
            raise
        return self

    def __exit__(self, *unused: object) -> None:
        self.stop()

    def _open_when_loaded(self) -> None:
        assert self._core is not None
        try:
            self._core.source.look()
            self._core.manager.wait_until_ready(self._core.model_names())
            with self._lock:
                if not self._stopped:
                    self._open_ports(self._core)
        except ServingError as error:
            self._failure = error
        finally:
            self._settled.set()

    def _open_ports(self, core: ServerCore) -> None:
        options = self.options
        limits = connection_limits(with_rest=options.rest_api_port != 0)
        if options.rest_api_port == options.port and options.port:
            _logger.error(
                "server_options.http_port cannot be same as grpc_port. Please use a different port "
                "for HTTP/REST API. Skipped exporting HTTP/REST API."
            )
        elif options.rest_api_port != 0:
            assert self._rest_options is not None
            self._rest_server = RestServer(core, self._rest_options, limits.rest)
            self.rest_port = self._rest_server.port
        self._grpc_server = GrpcServer(core, options, self._grpc_credentials, limits.grpc)
        self.grpc_port = self._grpc_server.port
        # Large requests leave free memory behind in the heap of the thread that had them.
        self._pollers.append(Periodic(release_memory, _SECONDS_BETWEEN_TRIMS, "memory"))
        if options.model_config_file and options.model_config_file_poll_wait_seconds > 0:
            seconds = options.model_config_file_poll_wait_seconds
            self._pollers.append(Periodic(self._follow_config, seconds, "config-poll"))
        self._log_addresses()

    def _log_addresses(self) -> None:
        """The lines of TensorFlow Serving, which people wait for in its log."""
        if self.grpc_port is not None:
            address = host_port(self.options.host, self.grpc_port)
            _logger.info("Running gRPC ModelServer at %s ...", address)
        if self.options.grpc_socket_path:
            path = self.options.grpc_socket_path
            _logger.info("Running gRPC ModelServer at UNIX socket %s ...", path)
        if self.rest_port is not None:
            _logger.info("Exporting HTTP/REST API at:localhost:%d ...", self.rest_port)

    def _follow_config(self) -> None:
        assert self._core is not None
        try:
            self._core.reload_config(self.options.read_config())
        except StatusError as error:
            _logger.error("The model configuration stays as it was: %s", error.text)


def _check_ports(options: ServerOptions) -> None:
    """Fails before models are loaded, which takes long, rather than after."""
    for kind, flag, port in (
        ("gRPC", "port", options.port),
        ("REST", "rest_api_port", options.rest_api_port),
    ):
        if not port:
            continue
        try:
            for probe in bind(options.host, port):
                probe.close()
        except socket.gaierror as error:
            raise ServingError(
                f"{kind} cannot listen on {host_port(options.host, port)}: {error.strerror}. "
                "Choose another host."
            ) from error
        except OSError as error:
            raise ServingError(
                f"The {kind} port {host_port(options.host, port)} cannot be opened: "
                f"{error.strerror}. Stop the process that holds it, or choose another {flag}."
            ) from error
    if options.grpc_socket_path:
        check_socket_path(options.grpc_socket_path)


@contextlib.contextmanager
def _termination_signals() -> Iterator[Callable[[float | None], bool]]:
    """Yield a function that waits up to so many seconds for SIGTERM or SIGINT.

    A pipe, because a handler may interrupt its own thread inside an Event and dead-lock there.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def note(number: int, frame: object) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(writer, b"x")

    def received(seconds: float | None) -> bool:
        return bool(select.select([reader], [], [], seconds)[0])

    before = {n: signal.signal(n, note) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)
