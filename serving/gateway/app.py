"""The ASGI application of a gateway: routes, and what stands before them."""

from __future__ import annotations

import importlib.resources
import sys
from pathlib import Path
from typing import TextIO

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.staticfiles import StaticFiles

from serving.errors import ServingError
from serving.gateway.errors import error_response, on_error, validation_message
from serving.gateway.gateway import Gateway
from serving.gateway.protection.access import BearerToken
from serving.gateway.protection.access_log import AccessLog
from serving.gateway.protection.asgi import App
from serving.gateway.protection.bodies import BodyLimit
from serving.gateway.protection.headers import SecurityHeaders
from serving.gateway.protection.hosts import HostCheck
from serving.gateway.protection.rates import RateLimit
from serving.gateway.routes import events, health, images, page, search

_STATIC = Path(__file__).parent / "static"
_CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}


def make_app(
    gateway: Gateway, bound: str = "127.0.0.1", access_log: TextIO | None = sys.stderr
) -> App:
    """Return the application.

    Args:
        gateway: what answers.
        bound: the address that is listened on; decides which hosts are ours.
        access_log: gets a JSON line for each request; None writes none.
    """
    api = FastAPI(
        title="vlsearch",
        summary="Vision-language search: texts, images and items to images.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    api.state.gateway = gateway
    for routes in (page, search, events, images, health):
        api.include_router(routes.router)
    api.mount("/static/docs", StaticFiles(directory=_swagger_files()), "docs-files")
    api.mount("/static", StaticFiles(directory=_STATIC), "static")
    api.add_exception_handler(ServingError, on_error)
    api.add_exception_handler(RequestValidationError, _on_validation_error)
    api.add_exception_handler(HTTPException, _on_http_error)
    api.add_exception_handler(Exception, on_error)

    settings = gateway.settings
    app: App = api
    app = BodyLimit(app, settings.request_bytes)
    if settings.bearer_token is not None:
        app = BearerToken(app, settings.bearer_token)
    if settings.cors_origins:
        app = CORSMiddleware(
            app,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
        )
    app = HostCheck(app, bound, settings.allowed_hosts, settings.cors_origins)
    if settings.requests_per_second is not None:
        app = RateLimit(app, settings.requests_per_second, settings.client_header)
    return AccessLog(SecurityHeaders(app), gateway.metrics, access_log)


async def _on_validation_error(request: Request, error: Exception) -> JSONResponse:
    del request
    assert isinstance(error, RequestValidationError)
    return error_response(400, "invalid_argument", validation_message(error.errors()))


async def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    del request
    assert isinstance(error, HTTPException)
    code = _CODES.get(error.status_code, "invalid_argument")
    return error_response(error.status_code, code, str(error.detail), **(error.headers or {}))


def _swagger_files() -> str:
    """Folder of Swagger UI's files, which come with a package: nothing is loaded from elsewhere."""
    return str(importlib.resources.files("fastapi_offline") / "static")
