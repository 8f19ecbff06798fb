"""Sessions: random, of half an hour, so that a click log tells people apart and knows nobody."""

from __future__ import annotations

import re
import secrets

from fastapi import Request, Response

from serving.gateway.cookies import set_private_cookie

COOKIE = "vlsearch_session"
_SECONDS = 1800
_FORM = re.compile(r"[A-Za-z0-9_-]{1,100}")


def session_of(request: Request, given: str | None = None) -> tuple[str, bool]:
    """Return the session of a request, and whether it is new.

    Args:
        request: with the cookie, if it has one.
        given: the session that a program names itself.
    """
    known = given or request.cookies.get(COOKIE, "")
    return (known, False) if _FORM.fullmatch(known) else (secrets.token_urlsafe(16), True)


def set_session(response: Response, session: str, request: Request) -> None:
    """Send the session along; each search begins its half hour anew."""
    set_private_cookie(response, request, COOKIE, session, _SECONDS)
