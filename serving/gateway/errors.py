"""Errors of the API: JSON with a code and a sentence."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse

from serving.errors import (
    Code,
    DiskError,
    MissingFileError,
    ServingError,
    StatusError,
    UnknownItemError,
)
from serving.gateway.impressions import BadTokenError

_logger = logging.getLogger(__name__)

# By the code of the model server.
_OF_SERVER = {
    Code.INVALID_ARGUMENT: (400, "invalid_argument"),
    Code.DEADLINE_EXCEEDED: (504, "too_slow"),
    Code.RESOURCE_EXHAUSTED: (503, "overloaded"),
    Code.UNAVAILABLE: (503, "unavailable"),
    Code.NOT_FOUND: (503, "unavailable"),
}


def error_response(status: int, code: str, message: str, **headers: str) -> JSONResponse:
    """Return an error as the API tells it."""
    content = {"error": {"code": code, "message": message}}
    return JSONResponse(content, status_code=status, headers=headers)


def response_to(error: Exception) -> JSONResponse:
    """Return what a client is told of an error; what it cannot help is logged, too."""
    if isinstance(error, BadTokenError):
        return error_response(403, "bad_token", str(error))
    if isinstance(error, UnknownItemError | MissingFileError):
        # Where files are is nobody's business.
        message = str(error) if isinstance(error, UnknownItemError) else "There is no such image."
        return error_response(404, "not_found", message)
    if isinstance(error, StatusError):
        status, code = _OF_SERVER.get(error.code, (502, "model_server"))
        if status != 400:
            _logger.warning("%s", error)
            return error_response(status, code, "The model server does not answer this search now.")
        return error_response(status, code, _without_nodes(str(error)))
    if isinstance(error, DiskError):
        _logger.error("%s", error)
        return error_response(503, "unavailable", "The service cannot write or read a file now.")
    if isinstance(error, ServingError):
        return error_response(400, "invalid_argument", str(error))
    _logger.exception("A request failed.", exc_info=error)
    return error_response(500, "internal", "The service failed; its log says why.")


def validation_message(errors: Sequence[Any]) -> str:
    """Return one sentence per mistake of a request, with the place of each."""
    told = []
    for error in errors[:5]:
        place = ".".join(str(part) for part in error["loc"] if part != "body")
        told.append(f"{place or 'The request'}: {error['msg']}")
    return ". ".join(told) + "."


async def on_error(request: Request, error: Exception) -> JSONResponse:
    """Answer a request whose handler raised."""
    del request
    return response_to(error)


def _without_nodes(message: str) -> str:
    """Leave out of a message of TensorFlow which nodes of the graph were concerned."""
    return re.split(r"\s*\[\[\{\{node", message)[0]
