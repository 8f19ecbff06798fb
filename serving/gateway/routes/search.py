"""Searching: `/v1/search`, `/v1/suggest`, `/v1/collection`, `/v1/items`."""

from __future__ import annotations

import json
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request, Response
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException

from serving.errors import ServingError, UnknownItemError
from serving.gateway.answers import AnswerBody, SearchBody, answer_json, error_answers, item_json
from serving.gateway.errors import error_response, validation_message
from serving.gateway.gateway import Gateway
from serving.gateway.sessions import session_of, set_session

router = APIRouter(tags=["search"])

_ERRORS = error_answers(
    {
        400: "The search says something that it cannot.",
        403: "Another site's page asks.",
        404: "An id that no item has.",
        413: "The request is too large.",
        429: "Too many requests.",
        503: "The model server does not answer now.",
    }
)
_BODIES = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": SearchBody.model_json_schema()},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {
                        "image": {"type": "string", "format": "binary"},
                        "search": {"type": "string", "description": "The rest, as JSON."},
                    },
                }
            },
        },
    }
}


@router.post(
    "/v1/search",
    summary="Search for a text, an image, items like one, or a mix",
    response_model=AnswerBody,
    responses=_ERRORS,
    openapi_extra=_BODIES,
)
async def search(request: Request) -> Response:
    """Hits, best first. Items that the search names are no hits of it.

    Send JSON, or `multipart/form-data` with the file `image` and, as `search`, the rest as JSON.
    """
    gateway: Gateway = request.app.state.gateway
    try:
        body, upload = await _read(request)
    except ValidationError as error:
        return error_response(400, "invalid_argument", validation_message(error.errors()))
    session = session_of(request, body.session)[0] if gateway.is_logging else None

    def answer() -> bytes:
        asked = body.to_request(gateway, upload)
        given = gateway.search(asked, session, body.language)
        return orjson.dumps(answer_json(given, body.offset))

    response = Response(await run_in_threadpool(answer), media_type="application/json")
    if session is not None and body.session is None:
        set_session(response, session, request)
    return response


@router.get("/v1/suggest", summary="Queries of the log that begin so", responses=_ERRORS)
async def suggest(
    request: Request,
    q: Annotated[str, Query(max_length=200, description="What is typed so far.")],
) -> dict[str, list[str]]:
    """Return the most clicked queries that begin so, of those that several sessions asked."""
    gateway: Gateway = request.app.state.gateway
    return {"suggestions": await run_in_threadpool(gateway.suggest, q)}


@router.get("/v1/collection", summary="What is searched", responses=_ERRORS)
async def collection(
    request: Request,
    filter: Annotated[
        str, Query(max_length=20_000, description="As in a search, as JSON text.")
    ] = "{}",
) -> dict[str, Any]:
    """Return the item columns, and how many items have each of their values."""
    gateway: Gateway = request.app.state.gateway
    try:
        conditions = json.loads(filter)
    except (ValueError, RecursionError):
        conditions = None
    if not isinstance(conditions, dict):
        raise ServingError("filter is a JSON object of conditions by column.")
    return await run_in_threadpool(gateway.collection, conditions)


@router.get("/v1/items/{item:path}", summary="One item", responses=_ERRORS)
async def item(request: Request, item: str) -> dict[str, Any]:
    """Return an item's columns, and the queries that people found it by."""
    found = await run_in_threadpool(item_json, request.app.state.gateway, item)
    if found is None:
        raise UnknownItemError(f"There is no item {item[:200]!r} in the index.")
    return found


async def _read(request: Request) -> tuple[SearchBody, bytes | None]:
    """Return the search of a request, and the file that came with it.

    Raises:
        ServingError: it is no JSON, or no form with an image.
        ValidationError: it is no `SearchBody`.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "multipart/form-data":
        try:
            form = await request.form(max_files=1, max_fields=4)
        except MultiPartException as error:
            raise ServingError(f"The form cannot be read: {error.message}") from error
        except (KeyError, ValueError, AssertionError) as error:
            raise ServingError("The form cannot be read: it names no boundary.") from error
        upload, rest = form.get("image"), form.get("search") or "{}"
        if not isinstance(upload, UploadFile) or not isinstance(rest, str):
            raise ServingError("The form has the file `image` and, as text, `search`.")
        return SearchBody.model_validate_json(rest), await upload.read()
    if media_type not in ("application/json", ""):
        raise ServingError(
            f"A search is application/json or multipart/form-data. Received: {media_type[:100]!r}."
        )
    return SearchBody.model_validate_json(await request.body()), None
