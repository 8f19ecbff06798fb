"""Cookies that scripts cannot read and other sites' pages do not send."""

from __future__ import annotations

from fastapi import Request, Response


def set_private_cookie(
    response: Response, request: Request, name: str, value: str, seconds: int
) -> None:
    """Send a cookie along, over TLS alone where the request came over TLS."""
    response.set_cookie(
        name,
        value,
        max_age=seconds,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
