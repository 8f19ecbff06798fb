"""Clicks, and taking them back: `/v1/events`, `/v1/session`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from serving.gateway.answers import EventBody, error_answers
from serving.gateway.gateway import Gateway
from serving.gateway.sessions import COOKIE, session_of

router = APIRouter(tags=["clicks"])

_ERRORS = error_answers(
    {
        400: "The item was not shown there.",
        403: "No token of this service, or one that is too old.",
        413: "The request is too large.",
        429: "Too many requests.",
        503: "The log cannot be written now.",
    }
)


@router.post("/v1/events", summary="Tell of a click", responses=_ERRORS)
async def events(request: Request, event: EventBody) -> dict[str, bool]:
    """Record a click on an item of an answer; acknowledged when it is written.

    `recorded` is false for the second click on an item of one answer.
    """
    gateway: Gateway = request.app.state.gateway
    return {"recorded": await run_in_threadpool(gateway.click, event.token, event.id)}


@router.delete("/v1/session", summary="Delete what is recorded of this session", responses=_ERRORS)
async def forget(request: Request, response: Response) -> dict[str, bool]:
    """Delete what the log has of the session in the cookie, and the cookie."""
    gateway: Gateway = request.app.state.gateway
    session, is_new = session_of(request)
    if not is_new:
        await run_in_threadpool(gateway.forget, session)
        response.delete_cookie(COOKIE)
    return {"forgotten": not is_new}
