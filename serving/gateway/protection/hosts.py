"""Host and Origin: a page of another site must not search here in its visitor's name.

A name that is made to resolve to this machine (DNS rebinding) is not in the list of hosts; a form
or script of another site (cross-site request forgery) has another Origin. Both hold on loopback,
too, where browsers of this machine can be led to.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from serving.gateway.protection.asgi import App, Receive, Scope, Send, header, refuse
from serving.loopback import is_loopback

_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_SAFE = ("GET", "HEAD", "OPTIONS")


class HostCheck:
    """Refuses hosts that the service is not called by, and changes that another site asks for.

    Args:
        app: what is protected.
        bound: the address that is listened on.
        allowed: names beside it.
        origins: of pages elsewhere that may use the API.
    """

    def __init__(
        self, app: App, bound: str, allowed: Iterable[str] = (), origins: Iterable[str] = ()
    ):
        self._app = app
        self._only_loopback = bound not in ("0.0.0.0", "::") and is_loopback(bound)
        self._names = {name.lower() for name in allowed}
        if not self._only_loopback:
            self._names |= {bound.lower(), socket.gethostname().lower(), "localhost"}
        self._origins = {origin.lower().rstrip("/") for origin in origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 403."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        host = header(scope, "host")
        if not self._is_ours(host):
            return await refuse(
                scope,
                receive,
                send,
                403,
                "unknown_host",
                "The service is not called by this name. Add it with --allowed-host.",
            )
        if scope["method"] not in _SAFE and not self._is_same_site(scope, host):
            return await refuse(
                scope,
                receive,
                send,
                403,
                "other_origin",
                "A page of another site asks for this. Allow it with --cors-origin.",
            )
        return await self._app(scope, receive, send)

    def _is_ours(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match["name"].lower()
        if name in self._names:
            return True
        if self._only_loopback:
            return is_loopback(name)
        try:  # an address is no name that somebody could let point here
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True

    def _is_same_site(self, scope: Scope, host: str) -> bool:
        origin = header(scope, "origin").lower()
        if origin:
            return urlsplit(origin).netloc == host.lower() or origin in self._origins
        # Browsers that leave the origin out still say where a request comes from.
        return header(scope, "sec-fetch-site") in ("", "same-origin", "none")
