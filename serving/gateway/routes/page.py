"""The page, its files, and OpenAPI's page."""

from __future__ import annotations

from pathlib import Path

import jinja2
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from serving.gateway.cookies import set_private_cookie
from serving.gateway.gateway import Gateway
from serving.gateway.languages import language_of, texts_of
from serving.gateway.protection.access import COOKIE_SECONDS, access_cookie

FOLDER = Path(__file__).parents[1]
router = APIRouter(include_in_schema=False)

_templates = jinja2.Environment(
    loader=jinja2.FileSystemLoader(FOLDER / "templates"), autoescape=True, trim_blocks=True
)


@router.get("/")
async def page(request: Request) -> HTMLResponse:
    """Return the page in the language that the browser prefers."""
    gateway: Gateway = request.app.state.gateway
    chosen = request.query_params.get("lang", "")
    language = language_of(chosen or request.headers.get("accept-language", ""))
    html = _templates.get_template("page.html.j2").render(
        language=language,
        text=texts_of(language),
        records=gateway.is_logging,
    )
    return HTMLResponse(html, headers={"Cache-Control": "no-store", "Vary": "Accept-Language"})


@router.get("/docs")
async def docs() -> HTMLResponse:
    """Return OpenAPI's page, with files of this server."""
    return HTMLResponse(_templates.get_template("docs.html.j2").render())


@router.get("/favicon.ico")
async def favicon() -> RedirectResponse:
    """Say where the icon is."""
    return RedirectResponse("/static/icon.svg", status_code=301)


@router.post("/v1/access")
async def access(request: Request) -> Response:
    """Give the page of who knows the token a cookie, for pictures cannot send headers."""
    response = Response(status_code=204)
    token = request.app.state.gateway.settings.bearer_token
    if token is not None:  # and who is here has sent it
        set_private_cookie(response, request, *access_cookie(token), COOKIE_SECONDS)
    return response
