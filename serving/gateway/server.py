"""The search service as a process, or as a thread of one: model server, gateway, HTTP server."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

import uvicorn

from serving.client import PredictClient
from serving.errors import ServingError
from serving.gateway.app import make_app
from serving.gateway.gateway import Gateway
from serving.gateway.settings import GatewaySettings
from serving.model_server.addresses import host_port
from serving.search import embedded_server

_GRACE_SECONDS = 10


class GatewayServer:
    """A gateway behind an HTTP server of its own.

    As a context manager it answers inside the block, from a thread, and has stopped after it.

    Args:
        gateway: what answers.
        host: address to listen on.
        port: 0 takes a free one.
        access_log: gets a JSON line for each request; None writes none.

    Raises:
        ServingError: the port is in use, or the address is not one of this machine.
    """

    def __init__(
        self,
        gateway: Gateway,
        host: str = "127.0.0.1",
        port: int = 0,
        access_log: TextIO | None = sys.stderr,
    ):
        self._socket = _listen(host, port)
        self.address = host_port(host, self._socket.getsockname()[1])
        config = uvicorn.Config(
            make_app(gateway, host, access_log),
            http="httptools",
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="off",
            proxy_headers=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Of the page."""
        return f"http://{self.address}/"

    def serve_forever(self) -> None:
        """Answer until SIGTERM or SIGINT, then let requests end. For the main thread."""
        told = threading.Event()
        # In the main thread uvicorn would end the process by the signal, and the log stay open.
        before = {
            number: signal.signal(number, lambda *_: told.set())
            for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            with self:
                told.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def __enter__(self) -> GatewayServer:
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="gateway", daemon=True
        )
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise ServingError(f"The search service at {self.address} did not start.")
            time.sleep(0.01)
        return self

    def __exit__(self, *error: object) -> None:
        self._server.should_exit = True
        assert self._thread is not None
        self._thread.join()


@contextlib.contextmanager
def open_gateway(
    release_root: str | Path, settings: GatewaySettings, servers: Sequence[str] = ()
) -> Iterator[Gateway]:
    """A gateway with its model server, for one block.

    Args:
        release_root: folder with release.json.
        settings: of the service.
        servers: addresses of running model servers that serve this root; none starts one here.

    Raises:
        ServingError: no complete release, or no server of it.
    """
    with contextlib.ExitStack() as held:
        if servers:
            client = held.enter_context(PredictClient(_one_address(servers)))
        else:
            client = held.enter_context(embedded_server(release_root))
        gateway = Gateway(release_root, client, settings)
        held.callback(gateway.close)
        yield gateway


def run_search_service(
    release_root: str | Path,
    settings: GatewaySettings,
    *,
    host: str,
    port: int,
    servers: Sequence[str] = (),
    on_ready: Callable[[GatewayServer, Gateway], None] = lambda server, gateway: None,
) -> None:
    """Serve a release root until SIGTERM or SIGINT.

    Args:
        release_root: folder with release.json.
        settings: of the service.
        host: address to listen on.
        port: likewise; 0 takes a free one.
        servers: see `open_gateway`.
        on_ready: called when the port is open.

    Raises:
        ServingError: see `open_gateway` and `GatewayServer`.
    """
    with open_gateway(release_root, settings, servers) as gateway:
        server = GatewayServer(gateway, host, port)
        on_ready(server, gateway)
        server.serve_forever()


def _one_address(servers: Sequence[str]) -> str:
    """Return one address for several, which gRPC takes if they are numbers.

    Raises:
        ServingError: several of which one is a name.
    """
    if len(servers) == 1:
        return servers[0]
    hosts = [server.rpartition(":")[0] for server in servers]
    if all(host.startswith("[") for host in hosts):
        return f"ipv6:{','.join(servers)}"
    if all(host.replace(".", "").isdecimal() for host in hosts):
        return f"ipv4:{','.join(servers)}"
    raise ServingError(
        "Several --server are addresses such as 10.0.0.1:8500. A name that stands for several is "
        f"given once, as dns:///NAME:8500. Received: {', '.join(servers)}."
    )


def _listen(host: str, port: int) -> socket.socket:
    try:
        [*_, (family, kind, protocol, _, address)] = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ServingError(
            f"{host}:{port} cannot be listened on: {reason.lower()}. Name another --host or --port."
        ) from error
    return listener
