"""The socket of the REST interface: reading requests within limits, handing them on, answering.

Routes and bodies are in `api`; this is what TensorFlow Serving's http_server.cc does.
"""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from typing import Any, NamedTuple

import uvicorn

from serving.errors import Code, ServingError, StatusError
from serving.model_server.addresses import bind, host_port
from serving.model_server.authentication import HEADER
from serving.model_server.core import ServerCore
from serving.model_server.limits import unzip
from serving.model_server.monitoring.metrics import record_request
from serving.model_server.monitoring.prometheus import CONTENT_TYPE, metrics_page
from serving.model_server.rest.acceptor import Acceptor, Connections
from serving.model_server.rest.api import Answer, RestApi
from serving.model_server.rest.http_protocol import RestProtocol
from serving.model_server.rest.options import RestOptions
from serving.model_server.rest.request_body import Disconnected, RequestBody
from serving.model_server.rest.workers import Workers
from serving.model_server.threads import ends, seconds_until

_API = re.compile(r"/v1/.*", re.IGNORECASE | re.DOTALL)
_ORIGIN = re.compile(rb"https?://")
_BACKLOG = 2048
_KEEP_ALIVE_SECONDS = 60
_QUICK_THREADS = 2
_SECRET_HEADER = HEADER.encode()
_NOT_FOUND_PAGE = (
    b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD>"
    b"<BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"
)
_JSON = (b"content-type", b"application/json")
_HTML = (b"content-type", b"text/html")
_TEXT = (b"content-type", CONTENT_TYPE.encode())
_CORS = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"POST, GET"),
    (b"access-control-allow-headers", b"Content-Type"),
]


class RestServer:
    """A RestApi on a socket of its own, served by uvicorn in a thread.

    Raises:
        ServingError: the port cannot be bound.
    """

    def __init__(self, core: ServerCore, options: RestOptions, most_connections: int):
        self._options, self._flags = options, options.flags
        self._core, self._concurrency = core, core.concurrency
        self._api = RestApi(core, self._flags.rest_api_list_models)
        self._timeout = self._flags.rest_api_timeout_in_ms / 1000 or None
        listeners = _listen(self._flags.host, self._flags.rest_api_port or 0)
        self.port: int = listeners[0].getsockname()[1]
        self._workers = Workers(self._flags.rest_api_num_threads, "rest")
        # For what must not stand in line behind predictions.
        self._quick_workers = Workers(_QUICK_THREADS, "rest-quick")
        config = uvicorn.Config(
            self._app,
            interface="asgi3",
            http=RestProtocol,
            # The same with and without uvloop, which is no faster here.
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            # What is no HTTP is its sender's affair: a line each would fill the log.
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        )
        config.load()
        config.ssl = options.tls
        self._server = _HttpServer(
            config, Connections(most_connections), self._flags.rest_api_read_timeout_in_ms / 1000
        )
        self._thread = threading.Thread(
            target=self._server.run, args=(listeners,), name="rest-server", daemon=True
        )
        self._thread.start()

    def begin_stop(self, grace: float) -> None:
        """Stop accepting; requests under way have `grace` seconds to end."""
        self._server.config.timeout_graceful_shutdown = max(1, round(grace))
        self._server.should_exit = True

    def join(self, timeout: float) -> bool:
        """Return when the server has ended, or after `timeout` seconds.

        Returns:
            Whether it has, and all requests with it.
        """
        end = time.monotonic() + timeout
        has_ended = ends(self._thread, end)
        has_ended &= self._quick_workers.stop(seconds_until(end))
        return self._workers.stop(seconds_until(end)) and has_ended

    async def _app(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        body = RequestBody(receive)
        headers = dict(scope["headers"])
        try:
            response = await self._respond(scope, headers, body)
        except Disconnected:
            return
        fields = [*response.headers, (b"content-length", b"%d" % len(response.content))]
        is_refused = not body.was_asked_for and b"expect" in headers
        if is_refused:
            # Whether the body comes all the same is the client's choice.
            fields.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": response.status, "headers": fields})
        if not is_refused and not body.is_complete:
            # A client that is still sending would not read the answer if the connection ended here.
            await send({"type": "http.response.body", "body": response.content, "more_body": True})
            await body.skip()
            response = response._replace(content=b"")
        await send({"type": "http.response.body", "body": response.content})

    async def _respond(
        self, scope: dict[str, Any], headers: dict[bytes, bytes], body: RequestBody
    ) -> _Response:
        start = time.perf_counter()
        flags, monitoring = self._flags, self._options.monitoring
        method, path = scope["method"], scope["raw_path"].decode("latin-1")
        if monitoring.enable and path == monitoring.path:
            return await self._metrics(headers)
        if flags.rest_api_health_path and path == flags.rest_api_health_path:
            answer = self._api.health()
            return _Response(answer.http_status, answer.text.encode(), [_JSON])
        if not _API.fullmatch(path):
            return _Response(404, _NOT_FOUND_PAGE, [_HTML])
        fields = [_JSON, *_CORS] if flags.rest_api_enable_cors_support else [_JSON]
        if method == "OPTIONS":
            status = 200 if _ORIGIN.search(headers.get(b"origin", b"")) else 400
            return _Response(status, b"", fields)
        try:
            answer = await self._answer(method, path, headers, body)
        except StatusError as error:
            answer = self._api.refuse(method, path, error)
        except asyncio.CancelledError:
            # By uvicorn, when the grace of a stop is over.
            stopped = StatusError(Code.UNAVAILABLE, "The model server was stopped")
            answer = self._api.refuse(method, path, stopped)
        name = answer.model_name
        if name and answer.code != Code.OK:
            name = self._core.known_model(name)
        record_request(name, answer.api, "REST", answer.code.name, start)
        return _Response(answer.http_status, answer.text.encode("utf-8", "surrogateescape"), fields)

    async def _answer(
        self, method: str, path: str, headers: dict[bytes, bytes], body: RequestBody
    ) -> Answer:
        if self._options.secret is not None:
            self._options.secret.check(headers.get(_SECRET_HEADER))
        content = await body.read(headers, self._flags.rest_api_max_request_bytes)
        is_zipped = b"gzip" in headers.get(b"content-encoding", b"")
        is_prediction = method == "POST"
        if is_prediction:
            self._concurrency.enter()
        run = self._run_prediction if is_prediction else self._run
        workers = self._workers if is_prediction else self._quick_workers
        deadline = time.monotonic() + self._timeout if self._timeout else None
        try:
            return await workers.run(
                run, method, path, content, is_zipped, deadline, timeout=self._timeout
            )
        except TimeoutError:
            raise _timed_out() from None

    def _run_prediction(self, *arguments: Any) -> Answer:
        try:
            return self._run(*arguments)
        finally:
            # Here, because a prediction that was given up goes on after it was answered.
            self._concurrency.leave()

    def _run(
        self, method: str, path: str, body: bytes, is_zipped: bool, deadline: float | None
    ) -> Answer:
        try:
            if deadline is not None and time.monotonic() >= deadline:
                raise _timed_out()
            if is_zipped:
                body = unzip(body, self._flags.rest_api_max_request_bytes)
        except StatusError as error:
            return self._api.refuse(method, path, error)
        return self._api.answer(method, path, body, deadline)

    async def _metrics(self, headers: dict[bytes, bytes]) -> _Response:
        if self._options.secret is not None:
            try:
                self._options.secret.check(headers.get(_SECRET_HEADER))
            except StatusError as error:
                return _Response(401, error.message.encode(), [_TEXT])
        page = await self._quick_workers.run(metrics_page)
        return _Response(200, page.encode(), [_TEXT])


class _Response(NamedTuple):
    """What is sent back."""

    status: int
    content: bytes
    headers: list[tuple[bytes, bytes]]


class _HttpServer(uvicorn.Server):
    """uvicorn's server with our way of accepting connections."""

    def __init__(self, config: uvicorn.Config, connections: Connections, read_timeout: float):
        super().__init__(config)
        self._connections = connections
        self._read_timeout = read_timeout

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept on `sockets`."""
        await self.lifespan.startup()
        acceptor = Acceptor(
            sockets or [],
            self._make_protocol,
            self._connections,
            self.config.ssl,
            self._read_timeout,
        )
        # Closed as asyncio's servers are.
        self.servers = [acceptor]  # type: ignore[list-item]
        self.started = True

    def _make_protocol(self) -> RestProtocol:
        return RestProtocol(
            config=self.config,
            server_state=self.server_state,
            app_state={},
            connections=self._connections,
            read_timeout=self._read_timeout,
        )


def _timed_out() -> StatusError:
    # The words of DirectSession::WaitForNotification.
    return StatusError(Code.DEADLINE_EXCEEDED, "Timed out waiting for notification")


def _listen(host: str, port: int) -> list[socket.socket]:
    try:
        listeners = bind(host, port)
        for listener in listeners:
            # From here on connections queue up: the port is open when the server is made.
            listener.listen(_BACKLOG)
            listener.setblocking(False)
    except OSError as error:
        raise ServingError(f"REST cannot listen on {host_port(host, port)}: {error}.") from error
    return listeners
