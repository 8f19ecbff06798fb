"""The REST interface: routes, status codes and bodies of TensorFlow Serving's HttpRestApiHandler.

Its routes (case-insensitive paths whose verb is then compared exactly) and its error bodies are not
those of a web framework.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import unquote

from google.protobuf import json_format
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.errors import Code, StatusError, invalid
from serving.model_server.core import SIGNATURE_DEF, ServerCore
from serving.model_server.limits import BodyTooLarge
from serving.model_server.management.servable import State
from serving.model_server.models.model import DEFAULT_SIGNATURE
from serving.model_server.rest.json_examples import (
    classification_text,
    fill_examples,
    regression_text,
)
from serving.model_server.rest.json_parser import parse_object, signature_name
from serving.model_server.rest.json_tensor import fill_request, response_text

_logger = logging.getLogger(__name__)

_PREDICTION = re.compile(
    r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?:(classify|regress|predict)",
    re.IGNORECASE,
)
_MODEL = re.compile(
    r"/v1/models(?:/([^/:]+))?(?:/versions/(\d+)|/labels/([^/:]+))?(?:/(metadata))?",
    re.IGNORECASE,
)
_REQUESTS: dict[str, Callable[[], Any]] = {
    "predict": predict_pb2.PredictRequest,
    "classify": classification_pb2.ClassificationRequest,
    "regress": regression_pb2.RegressionRequest,
}
_INT64_MAX = 2**63 - 1
_INT64_DIGITS = 19
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


class Answer(NamedTuple):
    """A response, and what the metrics say about it.

    Attributes:
        http_status: of the response.
        text: JSON.
        code: what became of the request.
        model_name: from the path; empty if it names none.
        api: verb of a prediction; empty for all else.
    """

    http_status: int
    text: str
    code: Code
    model_name: str = ""
    api: str = ""


class RestApi:
    """Answers REST requests from a ServerCore.

    Args:
        list_models: whether GET /v1/models answers with all models, which TensorFlow Serving
            refuses.
    """

    def __init__(self, core: ServerCore, list_models: bool = False):
        self._core = core
        self._list_models = list_models

    def answer(self, method: str, path: str, body: bytes, deadline: float | None = None) -> Answer:
        """Answer one request.

        Args:
            method: "GET" or "POST".
            path: as sent, without the query string.
            body: unpacked.
            deadline: seconds of `time.monotonic()` by which the answer is wanted.
        """
        prediction, match = _parse(method, path)
        name, api = _labels(prediction, match)
        try:
            if prediction:
                text = self._prediction(prediction, path, body, deadline)
            elif match:
                text = self._description(match, path)
            else:
                raise _malformed(method, path)
            return Answer(200, text, Code.OK, name, api)
        except StatusError as error:
            return refusal(error, name, api)
        except Exception:
            # A mistake of ours: the sender learns that, and the log where.
            _logger.exception("%s %s failed", method, path)
            return refusal(StatusError(Code.INTERNAL, "Internal error of the server."), name, api)

    def refuse(self, method: str, path: str, error: StatusError) -> Answer:
        """Return the answer to a request that is refused before it is looked at."""
        return refusal(error, *_labels(*_parse(method, path)))

    def health(self) -> Answer:
        """Whether every configured model has a version that answers: 200, or 503 and which not."""
        missing = [name for name in self._core.model_names() if not self._is_served(name)]
        if missing:
            names = ", ".join(missing)
            return refusal(StatusError(Code.UNAVAILABLE, f"Models without a version: {names}"))
        return Answer(200, '{ "status": "SERVING" }\n', Code.OK)

    def _is_served(self, name: str) -> bool:
        statuses = self._core.manager.statuses(name)
        return any(state == State.AVAILABLE for _, state, _ in statuses)

    def _prediction(
        self, match: re.Match[str], path: str, body: bytes, deadline: float | None
    ) -> str:
        name, version, label, verb = match.groups()
        if verb not in _REQUESTS:
            raise _malformed("POST", path)
        request = _REQUESTS[verb]()
        _fill_model_spec(request.model_spec, name, version, label)
        document = parse_object(body)
        request.model_spec.signature_name = signature_name(document)
        if verb == "predict":
            return self._predict(request, document, deadline)
        fill_examples(document, request.input)
        if verb == "classify":
            return classification_text(self._core.classify(request, deadline=deadline).result)
        return regression_text(self._core.regress(request, deadline=deadline).result)

    def _description(self, match: re.Match[str], path: str) -> str:
        name, version, label, resource = match.groups()
        if not name:
            if self._list_models and path.lower() == "/v1/models":
                return self._models()
            raise invalid("Missing model name in request.")
        if resource is None:
            return self._status(name, version, label)
        if resource == "metadata":
            return self._metadata(name, version, label)
        raise _malformed("GET", path)

    def _models(self) -> str:
        models = []
        for name in self._core.model_names():
            request = get_model_status_pb2.GetModelStatusRequest()
            request.model_spec.name = name
            try:
                status = json.loads(_proto_text(self._core.model_status(request)))
            except StatusError:
                # Configured, and nothing found under its base path yet.
                status = {"model_version_status": []}
            models.append({"name": name, **status})
        return json.dumps({"models": models}, indent=1, ensure_ascii=False) + "\n"

    def _predict(
        self,
        request: predict_pb2.PredictRequest,
        document: dict[str, Any],
        deadline: float | None,
    ) -> str:
        with self._core.use(request.model_spec) as (model, version):
            name = request.model_spec.signature_name or DEFAULT_SIGNATURE
            if name not in model.signatures:
                raise invalid(
                    f'Serving signature name: "{name}" not found in signature def',
                )
            infos = model.signatures[name].inputs
            if not infos:
                raise invalid(
                    "Failed to get input map for signature: "
                    f"{request.model_spec.signature_name or 'DEFAULT'}",
                )
            request_format = fill_request(document, infos, request)
            # The version found above, even if a newer one went live in between.
            request.model_spec.version.value = version
            response = self._core.predict(request, deadline=deadline, as_tensor_content=True)
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


def refusal(error: StatusError, model_name: str = "", api: str = "") -> Answer:
    """Return the answer that tells the sender of a request what was wrong with it."""
    text = json.dumps({"error": error.message}, indent=4, ensure_ascii=False)
    status = 413 if isinstance(error, BodyTooLarge) else _HTTP_STATUS.get(error.code, 500)
    return Answer(status, text, error.code, model_name, api)


def _parse(method: str, path: str) -> tuple[re.Match[str] | None, re.Match[str] | None]:
    """(what a prediction asks for, what any request asks for): None where it is none."""
    prediction = _PREDICTION.fullmatch(path) if method == "POST" else None
    return prediction, prediction or (_MODEL.fullmatch(path) if method == "GET" else None)


def _labels(prediction: re.Match[str] | None, match: re.Match[str] | None) -> tuple[str, str]:
    return unquote(match[1] or "") if match else "", prediction[4] if prediction else ""


def _malformed(method: str, path: str) -> StatusError:
    return invalid(f"Malformed request: {method} {path}")


def _fill_model_spec(spec: Any, name: str, version: str | None, label: str | None) -> None:
    spec.name = unquote(name)
    if version:
        # Python refuses to read integers of thousands of digits.
        digits = version.lstrip("0") or "0"
        if len(digits) > _INT64_DIGITS or int(digits) > _INT64_MAX:
            raise invalid(f"Failed to convert version: {version} to numeric.")
        spec.version.value = int(digits)
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
