"""A shared secret: who does not send it is answered nothing but the page's frame and health."""

from __future__ import annotations

import hashlib
import hmac
from http.cookies import CookieError, SimpleCookie

from serving.gateway.protection.asgi import App, Receive, Scope, Send, header, refuse

_COOKIE = "vlsearch_access"
COOKIE_SECONDS = 12 * 3600
_OPEN = ("/", "/healthz", "/readyz", "/favicon.ico")


class BearerToken:
    """Asks for `Authorization: Bearer …`, or for the cookie that the page got for it.

    Args:
        app: what is protected.
        token: the secret.
    """

    def __init__(self, app: App, token: str):
        self._app = app
        self._token = token.encode()
        self._cookie = access_cookie(token)[1].encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 401."""
        is_open = scope["type"] != "http" or scope["path"] in _OPEN
        if is_open or scope["path"].startswith("/static/") or self._is_known(scope):
            return await self._app(scope, receive, send)
        return await refuse(
            scope,
            receive,
            send,
            401,
            "unauthenticated",
            "This service asks for a token: Authorization: Bearer TOKEN.",
            **{"WWW-Authenticate": "Bearer"},
        )

    def _is_known(self, scope: Scope) -> bool:
        kind, _, given = header(scope, "authorization").partition(" ")
        if kind.lower() == "bearer":
            return hmac.compare_digest(given.strip().encode("latin-1"), self._token)
        try:
            cookies = SimpleCookie(header(scope, "cookie"))
        except CookieError:
            return False
        value = cookies[_COOKIE].value if _COOKIE in cookies else ""
        return hmac.compare_digest(value.encode(), self._cookie)


def access_cookie(token: str) -> tuple[str, str]:
    """Return name and value of the cookie of who knows the token, which it does not hold."""
    return _COOKIE, hashlib.sha256(b"vlsearch access " + token.encode()).hexdigest()
