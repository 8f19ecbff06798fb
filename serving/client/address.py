"""The address of a model server as people write it, and as gRPC takes it."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from serving.errors import ServingError
from serving.loopback import is_loopback

PORT = 8500  # of gRPC, unless it was set otherwise
_SCHEME = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<rest>.*)", re.IGNORECASE)
_SOCKET = re.compile(r"(unix|unix-abstract):(?P<path>.+)")
# gRPC's own ways to name a host; all but the last part may be left out.
_RESOLVER = re.compile(r"(?P<prefix>dns:(//[^/]*/)?|ipv4:|ipv6:)(?P<hosts>.+)")
_HOST = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Address:
    """Where a server is.

    Attributes:
        target: what gRPC connects to.
        is_local: it is on this machine: a loopback address or a UNIX socket.
    """

    target: str
    is_local: bool


def parse_address(text: str) -> Address:
    """Read `HOST:PORT`, `unix:PATH`, or what gRPC knows beside these (`dns:///HOST:PORT`, …).

    White space around it, `grpc://` before it and a slash behind it do no harm.

    Raises:
        ServingError: it is none of these; the message says which form it should have.
    """
    if not isinstance(text, str):
        raise _refusal(text, "It must be a string.")
    address = text.strip()
    if _SOCKET.fullmatch(address):
        return Address(address, is_local=True)
    if match := _RESOLVER.fullmatch(address):
        hosts = match["hosts"].split(",")
        local = [is_loopback(_checked_host(host, text)) for host in hosts]
        return Address(address, all(local))
    if match := _SCHEME.fullmatch(address):
        if match["scheme"].lower() != "grpc":
            raise _refusal(text, _about_scheme(match["scheme"].lower()))
        address = match["rest"]
    address = address.rstrip("/")
    return Address(address, is_loopback(_checked_host(address, text)))


def _checked_host(address: str, text: str) -> str:
    """Return the host of HOST:PORT.

    Raises:
        ServingError: it is another thing.
    """
    if "@" in address:
        raise _refusal(text, "Leave user and password out; a secret goes into `metadata`.")
    if "/" in address:
        raise _refusal(text, "Leave the path out.")
    host, colon, port = address.rpartition(":")
    if _is_ipv6(address) or _is_ipv6(host):
        raise _refusal(text, f"An IPv6 address needs brackets, such as [::1]:{PORT}.")
    if not colon or address.endswith("]"):
        is_host = not address.isdigit() and (_HOST.fullmatch(address) or colon)
        example = f", such as {address}:{PORT}" if is_host else ""
        raise _refusal(text, f"Give both host and port{example}.")
    if not (port.isascii() and port.isdigit() and 1 <= int(port[:9]) <= 65535):
        raise _refusal(text, "A port is a number from 1 to 65535.")
    inner = host.removeprefix("[").removesuffix("]")
    if not (_HOST.fullmatch(host) or (host == f"[{inner}]" and _is_ipv6(inner))):
        raise _refusal(text, "That is no name of a host.")
    return host


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False


def _about_scheme(scheme: str) -> str:
    without = f"Leave {scheme}:// out"
    if scheme == "http":
        return f"{without}, and give the gRPC port ({PORT} by default), not the REST port."
    if scheme in ("https", "grpcs"):
        return f"{without}, and give the gRPC port ({PORT} by default) and `tls=TlsConfig(…)`."
    return f"{without}."


def _refusal(text: object, remedy: str) -> ServingError:
    shown = text
    if isinstance(text, str):  # what stands before an @ may be a password
        shown = re.sub(r"^(\s*[a-z0-9+.-]+://)?.*@", r"\1…@", text, flags=re.DOTALL | re.IGNORECASE)
    return ServingError(
        "The address of a model server is HOST:PORT of its gRPC port, such as "
        f"127.0.0.1:{PORT}, or unix:PATH of its socket. Received: address={shown!r}. {remedy}"
    )
