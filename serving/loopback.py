"""Connections of this machine with itself, in which no proxy takes part."""

from __future__ import annotations

import ipaddress
import os
import socket

_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy", "all_proxy")
_INSTEAD = "no_grpc_proxy"  # of `no_proxy`, in gRPC
# urllib wants the brackets, others do not.
_NAMES = "localhost,127.0.0.1,127.0.0.0/8,::1,[::1]"


def is_loopback(host: str) -> bool:
    """Whether a host is this machine: localhost, a loopback address, or the unspecified one.

    Names are not looked up.
    """
    host = host.removeprefix("[").removesuffix("]").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return _is_short_loopback(host)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    address = mapped or address
    return address.is_loopback or address.is_unspecified


def _is_short_loopback(host: str) -> bool:
    """Whether it is 127.1 or another short form, which `ipaddress` does not know."""
    try:
        return ipaddress.ip_address(socket.inet_aton(host)).is_loopback
    except (OSError, UnicodeEncodeError):
        return False


def proxy_variable() -> str | None:
    """Return the environment variable that names the proxy which gRPC uses, or None.

    gRPC reads neither `all_proxy` nor names in capitals.
    """
    return next((name for name in _PROXIES[:-1] if os.environ.get(name)), None)


def bypass_proxies() -> None:
    """Take loopback out of what the environment's proxies are for, here and in child processes.

    Workers, steps and libraries talk to each other on loopback, by gRPC and by HTTP, and take
    their settings from the environment. Without a proxy in it, nothing changes.
    """
    given = {name.lower() for name, value in os.environ.items() if value}
    if given.isdisjoint(_PROXIES):
        return
    either = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    for name in ("no_proxy", "NO_PROXY"):  # some programs read capitals first
        os.environ[name] = _with_loopback(os.environ.get(name) or either)
    if instead := os.environ.get(_INSTEAD):
        os.environ[_INSTEAD] = _with_loopback(instead)


def _with_loopback(value: str) -> str:
    parts = [part.strip() for part in value.split(",") if part.strip()]
    if parts == ["*"]:  # among others, it is the name of no host for urllib
        return value
    return ",".join([*parts, *(name for name in _NAMES.split(",") if name not in parts)])
