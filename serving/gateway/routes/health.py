"""What machines ask: `/healthz`, `/readyz`, `/metrics`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from serving.errors import ServingError
from serving.gateway.errors import error_response
from serving.gateway.gateway import Gateway

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="The process lives")
async def healthz() -> dict[str, str]:
    """Return at once."""
    return {"status": "ok"}


@router.get("/readyz", summary="Searches are answered", response_model=None)
async def readyz(request: Request) -> dict[str, Any] | Response:
    """Return which release answers; 503 where the model server does not have it."""
    gateway: Gateway = request.app.state.gateway
    try:
        ready = await run_in_threadpool(gateway.service.is_ready)
    except ServingError:
        ready = False
    if not ready:
        return error_response(503, "unavailable", "The model server does not serve the release.")
    return {"status": "ready", "release": gateway.release}


@router.get("/metrics", summary="For Prometheus")
async def metrics(request: Request) -> Response:
    """Return counters in Prometheus' text format."""
    gateway: Gateway = request.app.state.gateway
    gateway.metrics.release.set(gateway.release)
    return Response(gateway.metrics.text(), media_type="text/plain; version=0.0.4")
