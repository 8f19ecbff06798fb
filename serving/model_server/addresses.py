"""Addresses to listen on: host names, IPv4 and IPv6."""

from __future__ import annotations

import errno
import socket

_EVERYWHERE = ("0.0.0.0", "::")
# No IPv6 in the kernel, or none that is switched on.
_NO_SUCH_ADDRESS = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


def host_port(host: str, port: int) -> str:
    """`127.0.0.1:8500` or `[::1]:8500`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bind(host: str, port: int) -> list[socket.socket]:
    """Bind TCP sockets where gRPC would listen for the same host; they do not listen yet.

    Either wildcard means all addresses of both families, as for gRPC; a name means all that it
    resolves to.

    Args:
        host: an address of either family or a name.
        port: 0 is a free one, the same for all sockets.

    Returns:
        At least one socket.

    Raises:
        OSError: none of the addresses can be bound, or the port of one is taken.
    """
    if host in _EVERYWHERE:
        try:
            return [_bound(socket.AF_INET6, ("::", port))]
        except OSError as error:
            if error.errno not in _NO_SUCH_ADDRESS:
                raise
            return [_bound(socket.AF_INET, ("0.0.0.0", port))]
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    refusal: OSError | None = None
    for family, address in dict.fromkeys((item[0], item[4]) for item in found):
        chosen = sockets[0].getsockname()[1] if sockets else port
        try:
            sockets.append(_bound(family, (address[0], chosen, *address[2:])))
        except OSError as error:
            if error.errno not in _NO_SUCH_ADDRESS:
                for other in sockets:
                    other.close()
                raise
            refusal = error
    if not sockets:
        assert refusal is not None
        raise refusal
    return sockets


def _bound(family: int, address: tuple) -> socket.socket:
    # The protocol named, or else asyncio does not see that it is TCP and leaves Nagle's algorithm
    # on: 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # Lets a restart bind while old connections linger; a listening socket still conflicts.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address[0] != "::")
        listener.bind(address)
    except BaseException:
        listener.close()
        raise
    return listener
