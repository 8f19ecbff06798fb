"""How a client reaches a server: address, TLS, gRPC's options, and the texts of what goes wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from serving.client.retry import Attempts
from serving.errors import Code, ServingError, StatusError

OPTIONS = [
    # gRPC's own limit is 4 MB, less than one batch of photographs; the server has none.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # Calls fail at once while gRPC waits to connect again, by default 1 s and then ever longer:
    # attempts made meanwhile would be wasted.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
]
# gRPC's words for a connection that did not come about. What a server answers looks the same but
# for the text.
_NOT_CONNECTED = (
    "failed to connect",
    "errors resolving",
    "DNS resolution failed",
    "empty address list",
    "connections to all backends failing",
)


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
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise ServingError(f"{name} of TlsConfig: {source}: {error.strerror}.") from error


def check_address(address: str) -> str:
    """Return `address` if it is HOST:PORT or unix:PATH.

    Raises:
        ServingError: it is neither.
    """
    scheme, _, path = address.partition(":")
    if scheme == "unix" and path:
        return address
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ServingError(
            "The address of a model server is HOST:PORT of its gRPC port, such as "
            f"127.0.0.1:8500, or unix:PATH of its socket. Received: address={address!r}."
        )
    return address


def metadata_pairs(metadata: Mapping[str, str] | None) -> list[tuple[str, str]]:
    """Metadata as gRPC takes it; it refuses keys with capitals, which HTTP headers may have."""
    return [(key.lower(), value) for key, value in (metadata or {}).items()]


def status_error(error: grpc.RpcError, address: str, attempts: Attempts) -> StatusError:
    """Return the StatusError for the last attempt at a call."""
    code, details = Code[error.code().name], error.details() or ""
    tried = f" after {attempts.made} attempts" if attempts.made > 1 else ""
    if code == Code.UNAVAILABLE and details.startswith(_NOT_CONNECTED):
        return StatusError(
            code,
            f"No model server answers at {address}{tried} ({details}). Start one with "
            "`vlsearch serve ROOT`, or give the address of a running one.",
        )
    if code == Code.UNAVAILABLE:
        return StatusError(code, f"{details} ({address}, UNAVAILABLE{tried})")
    if code == Code.DEADLINE_EXCEEDED:
        return StatusError(
            code,
            f"The model server at {address} did not answer within "
            f"{attempts.deadline.timeout:g} s. Raise the timeout, or send fewer rows per request.",
        )
    return StatusError(code, details)
