"""How a client reaches a server: address, TLS, gRPC's options, and the texts of what goes wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from serving.client.address import PORT, Address
from serving.client.retry import Attempts
from serving.errors import Code, ServingError, StatusError
from serving.loopback import proxy_variable

_OPTIONS: list[tuple[str, Any]] = [
    # gRPC's own limit is 4 MB, less than one batch of photographs; the server has none.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # Calls fail at once while gRPC waits to connect again, by default 1 s and then ever longer:
    # attempts made meanwhile would be wasted.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
]
_NO_PROXY = ("grpc.enable_http_proxy", 0)
# gRPC's words for a connection that did not come about. What a server answers looks the same but
# for the text.
_NOT_CONNECTED = (
    "failed to connect",
    "errors resolving",
    "DNS resolution failed",
    "empty address list",
    "connections to all backends failing",
)
# And those for a server that answers, but not in HTTP/2; and for one without TLS.
_ANOTHER_PROTOCOL = ("Failed parsing HTTP/2", "http1.x server")
_WITHOUT_TLS = "WRONG_VERSION_NUMBER"
# Visible ASCII and spaces (gRPC's Core, `validate_metadata.cc`).
_HEADER_NAME = re.compile(r"[0-9a-z_.-]+")
_HEADER_VALUE = re.compile(r"[ -~]*")


@dataclass(frozen=True)
class TlsConfig:
    """Encryption, and what each side proves itself with. Paths of PEM files, or their bytes.

    Attributes:
        root_certificates: those that the server's certificate is checked with; None takes gRPC's.
        client_key, client_certificate: for a server that wants to know its clients (mutual TLS).
        server_name: name in the server's certificate, if it is not that of the address.

    Raises:
        ServingError: only one of client_key and client_certificate.
    """

    root_certificates: str | Path | bytes | None = None
    client_key: str | Path | bytes | None = field(default=None, repr=False)
    client_certificate: str | Path | bytes | None = None
    server_name: str | None = None

    def __post_init__(self):
        if (self.client_key is None) != (self.client_certificate is None):
            given = "client_certificate" if self.client_key is None else "client_key"
            raise ServingError(
                f"Mutual TLS takes both client_key and client_certificate. Received: only {given}."
            )

    def credentials(self) -> grpc.ChannelCredentials:
        """Return what gRPC opens a channel with.

        Raises:
            ServingError: a file that cannot be read.
        """
        return grpc.ssl_channel_credentials(
            root_certificates=_pem("root_certificates", self.root_certificates),
            private_key=_pem("client_key", self.client_key),
            certificate_chain=_pem("client_certificate", self.client_certificate),
        )

    def options(self) -> list[tuple[str, str]]:
        """Channel options that belong to it."""
        if self.server_name is None:
            return []
        return [("grpc.ssl_target_name_override", self.server_name)]


def _pem(name: str, source: str | Path | bytes | None) -> bytes | None:
    if source is None or isinstance(source, bytes):
        return source
    if "-----BEGIN" in str(source):
        raise ServingError(
            f"{name} of TlsConfig is the path of a PEM file, or its content as bytes. "
            "Received: the content as str; encode() it."
        )
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise ServingError(f"{name} of TlsConfig: {source}: {error.strerror}.") from error


def channel_options(address: Address, tls: TlsConfig | None) -> list[tuple[str, Any]]:
    """Options of the channel to a server."""
    options = [*_OPTIONS, *(tls.options() if tls else [])]
    return [*options, _NO_PROXY] if address.is_local else options


def metadata_pairs(metadata: Mapping[str, str | bytes] | None) -> list[tuple[str, str | bytes]]:
    """Metadata as gRPC takes it; it refuses keys with capitals, which HTTP headers may have.

    Raises:
        ServingError: a key or a value that no header can have. Values are not shown.
    """
    if metadata is None:
        return []
    if not isinstance(metadata, Mapping):
        raise ServingError(
            "metadata is a mapping from the name of a header to its value. "
            f"Received: {type(metadata).__name__}."
        )
    return [(_header_name(key), _header_value(key, value)) for key, value in metadata.items()]


def _header_name(key: object) -> str:
    if not (isinstance(key, str) and _HEADER_NAME.fullmatch(key.lower())):
        # The whole of it may be `name: secret`.
        begin = re.split(r"[^\w.-]", key)[0] if isinstance(key, str) else type(key).__name__
        raise ServingError(
            "The name of a header in `metadata` has ASCII letters, digits, hyphens, dots and "
            f"underscores. Received one that begins with {begin!r}."
        )
    return key.lower()


def _header_value(key: str, value: object) -> str | bytes:
    about = f"The value of {key!r} in `metadata` (not shown here)"
    if key.lower().endswith("-bin"):
        if not isinstance(value, bytes):
            raise ServingError(f"{about} must be bytes. Received: {type(value).__name__}.")
        return value
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if not isinstance(value, str):
        raise ServingError(f"{about} must be a str. Received: {type(value).__name__}.")
    if not _HEADER_VALUE.fullmatch(value):
        broken = bool(re.search(r"[\r\n]", value))
        raise ServingError(
            f"{about} may have visible ASCII characters and spaces only, and has "
            + ("a line break: strip() what was read from a file." if broken else "others.")
        )
    return value


def status_error(error: grpc.RpcError, address: Address, attempts: Attempts) -> StatusError:
    """Return the StatusError for the last attempt at a call."""
    code, details = Code[error.code().name], error.details() or ""
    tried = f" after {attempts.made} attempts" if attempts.made > 1 else ""
    if code == Code.UNAVAILABLE and details.startswith(_NOT_CONNECTED):
        return StatusError(code, _not_connected(address, details, tried))
    if code == Code.UNAVAILABLE:
        return StatusError(code, f"{details} ({address.target}, UNAVAILABLE{tried})")
    if code == Code.DEADLINE_EXCEEDED:
        return StatusError(
            code,
            f"The model server at {address.target} did not answer within "
            f"{attempts.deadline.timeout:g} s. Raise the timeout, or send fewer rows per request.",
        )
    return StatusError(code, details)


def _not_connected(address: Address, details: str, tried: str) -> str:
    """Return what a person can do about a connection that did not come about."""
    target = address.target
    if any(words in details for words in _ANOTHER_PROTOCOL):
        return (
            f"What answers at {target} does not speak gRPC; this looks like an HTTP port, such as "
            f"a model server's REST port ({details}). Give the gRPC port: {PORT} unless it was "
            "set otherwise, and `vlsearch serve` prints both."
        )
    if _WITHOUT_TLS in details:
        return (
            f"What answers at {target} does not speak TLS ({details}). Leave `tls` out, or start "
            "the server with --ssl_config_file."
        )
    proxy = None if address.is_local else proxy_variable()
    return (
        f"No model server answers at {target}{tried} ({details}). Start one with "
        "`vlsearch serve ROOT`, or give the address of a running one."
        + (
            f" The environment names a proxy in {proxy}; hosts in no_proxy are reached without it."
            if proxy
            else ""
        )
    )
