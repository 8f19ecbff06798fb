"""The REST interface: routes, status codes and bodies of TensorFlow Serving's HttpRestApiHandler.

A plain ASGI application: its routes (case-insensitive paths whose verb is then compared exactly)
and its error bodies are not those of a web framework.
"""

from __future__ import annotations

import asyncio
import gzip
import re
import socket
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote

import uvicorn
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

from serving.errors import Code, ServingError, StatusError
from serving.model_server.core import SIGNATURE_DEF, ServerCore
from serving.model_server.json_parser import format_error, parse_object
from serving.model_server.json_tensor import fill_request, response_text
from serving.model_server.json_writer import PrettyWriter, string
from serving.model_server.saved_model import DEFAULT_SIGNATURE

_API = re.compile(r"/v1/.*", re.IGNORECASE | re.DOTALL)
_PREDICTION = re.compile(
    r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?:(classify|regress|predict)",
    re.IGNORECASE,
)
_MODEL = re.compile(
    r"/v1/models(?:/([^/:]+))?(?:/versions/(\d+)|/labels/([^/:]+))?(?:/(metadata))?",
    re.IGNORECASE,
)
_INT64_MAX = 2**63 - 1
_BACKLOG = 2048
_HTTP_STATUS = {
    Code.INVALID_ARGUMENT: 400,
    Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.ABORTED: 409,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.CANCELLED: 499,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}
_NOT_FOUND_PAGE = (
    "<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD>"
    "<BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"
)


class RestApi:
    """Answers REST requests from a ServerCore."""

    def __init__(self, core: ServerCore):
        self._core = core

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, str]:
        """(HTTP status, JSON body) of one request; `path` is as sent, without the query string."""
        try:
            return 200, self._route(method, path, body)
        except StatusError as status:
            error = status
        except RecursionError:
            error = StatusError(
                Code.INVALID_ARGUMENT, "JSON Parse error: The document is nested too deeply"
            )
        writer = PrettyWriter()
        writer.start_object()
        writer.key("error")
        writer.value(string(error.message))
        writer.end_object()
        return _HTTP_STATUS.get(error.code, 500), writer.text()

    def _route(self, method: str, path: str, body: bytes) -> str:
        malformed = StatusError(Code.INVALID_ARGUMENT, f"Malformed request: {method} {path}")
        if method == "POST" and (match := _PREDICTION.fullmatch(path)):
            name, version, label, verb = match.groups()
            request = predict_pb2.PredictRequest()
            _fill_model_spec(request.model_spec, name, version, label)
            if verb == "predict":
                return self._predict(request, body)
            if verb in ("classify", "regress"):
                raise StatusError(Code.UNIMPLEMENTED, f"This server does not answer {verb}.")
        elif method == "GET" and (match := _MODEL.fullmatch(path)):
            name, version, label, verb = match.groups()
            if not name:
                raise StatusError(Code.INVALID_ARGUMENT, "Missing model name in request.")
            if verb is None:
                return self._status(name, version, label)
            if verb == "metadata":
                return self._metadata(name, version, label)
        raise malformed

    def _predict(self, request: predict_pb2.PredictRequest, body: bytes) -> str:
        document = parse_object(body)
        if "signature_name" in document:
            if not isinstance(document["signature_name"], str):
                raise format_error(
                    document,
                    "not formatted correctly. 'signature_name' key must be a string value.",
                )
            request.model_spec.signature_name = document["signature_name"]
        with self._core.use(request.model_spec) as (model, version):
            name = request.model_spec.signature_name or DEFAULT_SIGNATURE
            if name not in model.signatures:
                raise StatusError(
                    Code.INVALID_ARGUMENT,
                    f'Serving signature name: "{name}" not found in signature def',
                )
            infos = model.signatures[name].inputs
            if not infos:
                raise StatusError(
                    Code.INVALID_ARGUMENT, f"Failed to get input map for signature: {name}"
                )
            request_format = fill_request(document, infos, request)
            # The version found above, even if a newer one went live in between.
            request.model_spec.version.value = version
            response = self._core.predict(request)
        return response_text(response.outputs, request_format)

    def _status(self, name: str, version: str | None, label: str | None) -> str:
        request = get_model_status_pb2.GetModelStatusRequest()
        _fill_model_spec(request.model_spec, name, version, label)
        return _proto_text(self._core.model_status(request))

    def _metadata(self, name: str, version: str | None, label: str | None) -> str:
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=[SIGNATURE_DEF])
        _fill_model_spec(request.model_spec, name, version, label)
        response = self._core.model_metadata(request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata[SIGNATURE_DEF].Unpack(signatures)
        # Put together by hand, as there: the Any would be printed with its type.
        return (
            f'{{\n"model_spec":{_proto_text(response.model_spec)}\n,\n'
            f'"metadata": {{"{SIGNATURE_DEF}": {_proto_text(signatures)}\n}}\n}}\n'
        )


class RestServer:
    """A RestApi on a socket of its own, served by uvicorn in a thread.

    Raises:
        ServingError: the port cannot be bound.
    """

    def __init__(self, core: ServerCore, host: str, port: int, threads: int, cors: bool):
        self._api = RestApi(core)
        self._cors = cors
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="rest")
        listener = socket.socket()
        # Lets a restart bind while old connections linger; a listening socket still conflicts.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            listener.close()
            raise ServingError(f"REST cannot listen on {host}:{port}: {error}.") from error
        # From here on connections queue up: the port is open when the constructor returns.
        listener.listen(_BACKLOG)
        self.port: int = listener.getsockname()[1]
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._app,
                interface="asgi3",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="rest-server", daemon=True
        )
        self._thread.start()

    def begin_stop(self, grace: float) -> None:
        """Stops accepting; requests under way have `grace` seconds to end."""
        self._server.config.timeout_graceful_shutdown = max(1, round(grace))
        self._server.should_exit = True

    def join(self) -> None:
        """Returns when the server has ended."""
        self._thread.join()
        self._executor.shutdown()

    async def _app(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        method, path = scope["method"], scope["raw_path"].decode("latin-1")
        headers = dict(scope["headers"])
        body = await _read_body(receive)
        kind = b"application/json"
        if not _API.fullmatch(path):
            status, text, kind = 404, _NOT_FOUND_PAGE, b"text/html"
        elif method == "OPTIONS":
            has_origin = re.search(rb"https?://", headers.get(b"origin", b""))
            status, text = (200 if has_origin else 400), ""
        else:
            if b"gzip" in headers.get(b"content-encoding", b""):
                body = _unzip(body)
            loop = asyncio.get_running_loop()
            status, text = await loop.run_in_executor(
                self._executor, self._api.answer, method, path, body
            )
        content = text.encode("utf-8", "surrogateescape")
        response = [(b"content-type", kind), (b"content-length", str(len(content)).encode())]
        if self._cors:
            response += [
                (b"access-control-allow-origin", b"*"),
                (b"access-control-allow-methods", b"POST, GET"),
                (b"access-control-allow-headers", b"Content-Type"),
            ]
        await send({"type": "http.response.start", "status": status, "headers": response})
        await send({"type": "http.response.body", "body": content})


async def _read_body(receive: Any) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _unzip(body: bytes) -> bytes:
    try:
        return gzip.decompress(body)
    except (OSError, EOFError, zlib.error):
        # What is no gzip is parsed as it is, and refused there.
        return body


def _fill_model_spec(spec: Any, name: str, version: str | None, label: str | None) -> None:
    spec.name = unquote(name)
    if version:
        if int(version) > _INT64_MAX:
            raise StatusError(
                Code.INVALID_ARGUMENT, f"Failed to convert version: {version} to numeric."
            )
        spec.version.value = int(version)
    if label:
        spec.version_label = unquote(label)


def _proto_text(message: Any) -> str:
    return json_format.MessageToJson(
        message,
        always_print_fields_with_no_presence=True,
        preserving_proto_field_name=True,
        indent=1,
        ensure_ascii=False,
    )
