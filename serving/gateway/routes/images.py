"""Pictures of items: `/images/{id}` and `/thumbnails/{id}`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from serving.gateway.answers import error_answers
from serving.gateway.pictures import ItemPicture

router = APIRouter(tags=["images"])

_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/*": {}}, "description": "The picture."},
    304: {"description": "It has not changed."},
    **error_answers(
        {
            400: "It cannot be read or decoded.",
            404: "There is no such item, or no image of it.",
            429: "Too many requests.",
        }
    ),
}


@router.get("/images/{item:path}", summary="An item's image", responses=_ANSWERS)
async def image(request: Request, item: str) -> Response:
    """Return the file as it is; formats that browsers do not show as PNG or JPEG."""
    picture = await run_in_threadpool(request.app.state.gateway.picture, item)
    return _response(request, picture)


@router.get("/thumbnails/{item:path}", summary="A small copy of it", responses=_ANSWERS)
async def thumbnail(request: Request, item: str) -> Response:
    """Return WebP of at most 320 px."""
    picture = await run_in_threadpool(request.app.state.gateway.thumbnail, item)
    return _response(request, picture)


def _response(request: Request, picture: ItemPicture) -> Response:
    headers = {
        "ETag": f'"{picture.tag}"',
        # The address names the release, so an hour old is not out of date.
        "Cache-Control": "private, max-age=3600",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    wanted = request.headers.get("if-none-match", "")
    if f'"{picture.tag}"' in wanted or wanted.strip() == "*":
        return Response(status_code=304, headers=headers)
    return Response(picture.data, media_type=picture.media_type, headers=headers)
