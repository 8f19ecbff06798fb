"""A secret that callers share with the server, sent with every request. Off unless configured."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from serving.errors import Code, ServingError, StatusError

# The name of the HTTP header, and of the key in gRPC's metadata.
HEADER = "x-vlsearch-secret"
_HEALTH_SERVICE = "/grpc.health.v1.Health/"


class CallerSecret:
    """Secrets of which a caller must know one.

    Args:
        secrets: more than one while they are being exchanged.
    """

    def __init__(self, *secrets: bytes):
        # Of equal length, so that the time a comparison takes says nothing about the secret's.
        self._digests = [hashlib.sha256(secret).digest() for secret in secrets]

    @classmethod
    def load(cls, path: str | Path) -> CallerSecret:
        """Read a file with one secret per line; spaces around them and empty lines do not count.

        Raises:
            ServingError: no such file, or none in it.
        """
        try:
            lines = Path(path).read_bytes().splitlines()
        except OSError as error:
            raise ServingError(
                f"The secrets of callers cannot be read from {path} (caller_secret_file): "
                f"{error.strerror}."
            ) from error
        secrets = [line.strip() for line in lines if line.strip()]
        if not secrets:
            raise ServingError(
                f"There is no secret in {path} (caller_secret_file). Write one per line."
            )
        return cls(*secrets)

    def check(self, sent: bytes | None) -> None:
        """Lets a request pass that came with one of the secrets.

        Raises:
            StatusError: UNAUTHENTICATED.
        """
        digest = hashlib.sha256(sent or b"").digest()
        # All of them, whichever fits.
        if not sum(hmac.compare_digest(digest, known) for known in self._digests):
            raise StatusError(
                Code.UNAUTHENTICATED, f"The request does not carry a valid secret in {HEADER}."
            )


class SecretInterceptor(grpc.ServerInterceptor):
    """Refuses gRPC requests without the secret; the health service stays open."""

    def __init__(self, secret: CallerSecret):
        self._secret = secret

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        """Hands the call on, or answers it with UNAUTHENTICATED."""
        if details.method.startswith(_HEALTH_SERVICE):
            return continuation(details)
        sent = next((v for key, v in details.invocation_metadata if key == HEADER), None)
        try:
            self._secret.check(sent.encode() if isinstance(sent, str) else sent)
        except StatusError as error:
            return _refusal(error)
        return continuation(details)


def _refusal(error: StatusError) -> grpc.RpcMethodHandler:
    def refuse(request: bytes, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode[error.code.name], error.message)

    # Without a deserializer: nothing of the request is looked at.
    return grpc.unary_unary_rpc_method_handler(refuse)
