"""The socket of the REST interface: reading requests within limits, handing them on, answering.

Routes and bodies are in `api`; this is what TensorFlow Serving's http_server.cc does.
"""

from __future__ import annotations

import functools
import re
import socket
import threading
import time
from typing import Any

import uvicorn

from serving.errors import Code, ServingError, StatusError
from serving.model_server.addresses import address_family, host_port
from serving.model_server.authentication import HEADER
from serving.model_server.core import ServerCore
from serving.model_server.limits import body_too_large, unzip
from serving.model_server.monitoring.metrics import record_request
from serving.model_server.monitoring.prometheus import CONTENT_TYPE, metrics_page
from serving.model_server.rest.api import Answer, RestApi
from serving.model_server.rest.http_protocol import BoundedHttpProtocol
from serving.model_server.rest.options import RestOptions
from serving.model_server.rest.workers import Workers

_API = re.compile(r"/v1/.*", re.IGNORECASE | re.DOTALL)
_ORIGIN = re.compile(rb"https?://")
_BACKLOG = 2048
_KEEP_ALIVE_SECONDS = 60
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

    def __init__(self, core: ServerCore, options: RestOptions):
        self._options, self._flags = options, options.flags
        self._concurrency = core.concurrency
        self._api = RestApi(core, self._flags.rest_api_list_models)
        self._timeout = self._flags.rest_api_timeout_in_ms / 1000 or None
        listener = _listen(self._flags.host, self._flags.rest_api_port or 0)
        self.port: int = listener.getsockname()[1]
        self._workers = Workers(self._flags.rest_api_num_threads, "rest")
        config = uvicorn.Config(
            self._app,
            interface="asgi3",
            # A partial is called like the class.
            http=functools.partial(  # type: ignore[arg-type]
                BoundedHttpProtocol,
                read_timeout=self._flags.rest_api_read_timeout_in_ms / 1000,
            ),
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
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="rest-server", daemon=True
        )
        self._thread.start()

    def begin_stop(self, grace: float) -> None:
        """Stop accepting; requests under way have `grace` seconds to end."""
        self._server.config.timeout_graceful_shutdown = max(1, round(grace))
        self._server.should_exit = True

    def join(self) -> None:
        """Return when the server has ended."""
        self._thread.join()
        self._workers.stop()

    async def _app(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        start = time.perf_counter()
        flags, monitoring = self._flags, self._options.monitoring
        method, path = scope["method"], scope["raw_path"].decode("latin-1")
        headers = dict(scope["headers"])
        if monitoring.enable and path == monitoring.path:
            await self._send_metrics(headers, send)
        elif flags.rest_api_health_path and path == flags.rest_api_health_path:
            answer = self._api.health()
            await _send(send, answer.http_status, answer.text.encode(), [_JSON])
        elif not _API.fullmatch(path):
            await _send(send, 404, _NOT_FOUND_PAGE, [_HTML])
        else:
            response_headers = [_JSON, *_CORS] if flags.rest_api_enable_cors_support else [_JSON]
            if method == "OPTIONS":
                status = 200 if _ORIGIN.search(headers.get(b"origin", b"")) else 400
                await _send(send, status, b"", response_headers)
                return
            try:
                answer = await self._answer(method, path, headers, receive)
            except StatusError as error:
                answer = self._api.refuse(method, path, error)
            except _Disconnected:
                return
            record_request(answer.model_name, answer.api, "REST", answer.code.name, start)
            content = answer.text.encode("utf-8", "surrogateescape")
            await _send(send, answer.http_status, content, response_headers)

    async def _answer(
        self, method: str, path: str, headers: dict[bytes, bytes], receive: Any
    ) -> Answer:
        if self._options.secret is not None:
            self._options.secret.check(headers.get(_SECRET_HEADER))
        body = await _read_body(receive, headers, self._flags.rest_api_max_request_bytes)
        is_zipped = b"gzip" in headers.get(b"content-encoding", b"")
        is_prediction = method == "POST"
        if is_prediction:
            self._concurrency.enter()
        run = self._run_prediction if is_prediction else self._run
        deadline = time.monotonic() + self._timeout if self._timeout else None
        try:
            return await self._workers.run(
                run, method, path, body, is_zipped, deadline, timeout=self._timeout
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

    async def _send_metrics(self, headers: dict[bytes, bytes], send: Any) -> None:
        if self._options.secret is not None:
            try:
                self._options.secret.check(headers.get(_SECRET_HEADER))
            except StatusError as error:
                await _send(send, 401, error.message.encode(), [_TEXT])
                return
        page = await self._workers.run(metrics_page)
        await _send(send, 200, page.encode(), [_TEXT])


class _Disconnected(Exception):
    """The client is gone before its request was there."""


def _timed_out() -> StatusError:
    # The words of DirectSession::WaitForNotification.
    return StatusError(Code.DEADLINE_EXCEEDED, "Timed out waiting for notification")


async def _read_body(receive: Any, headers: dict[bytes, bytes], limit: int) -> bytes:
    if limit and int(headers.get(b"content-length", 0)) > limit:
        raise body_too_large(limit)
    message = await receive()
    body = message.get("body", b"")
    if not message.get("more_body") and message["type"] == "http.request":
        return body
    parts = [body]
    size = len(body)
    while message.get("more_body"):
        if limit and size > limit:
            raise body_too_large(limit)
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
    if message["type"] != "http.request":
        raise _Disconnected
    if limit and size > limit:
        raise body_too_large(limit)
    return b"".join(parts)


async def _send(send: Any, status: int, content: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    headers = [*headers, (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def _listen(host: str, port: int) -> socket.socket:
    # Named, or else asyncio does not see that it is TCP and leaves Nagle's algorithm on: 40 ms.
    listener = socket.socket(address_family(host), socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # Lets a restart bind while old connections linger; a listening socket still conflicts.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ServingError(f"REST cannot listen on {host_port(host, port)}: {error}.") from error
    # From here on connections queue up: the port is open when the server is made.
    listener.listen(_BACKLOG)
    return listener
