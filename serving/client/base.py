"""What the clients with and without asyncio share: settings, and a call with its repetitions.

Calls are written once, as coroutines; a client says how a request is sent, how to wait, and how
several requests are under way at once. PredictClient blocks in these, so that its coroutines never
wait for an event loop.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import grpc

from serving.client.address import parse_address
from serving.client.batching import Answer, Chunk
from serving.client.channel import TlsConfig, channel_options, metadata_pairs, status_error
from serving.client.requests import Call
from serving.client.retry import Attempts, Deadline, RetryPolicy
from serving.errors import Code, ServingError

R = TypeVar("R")
Send = Callable[[Chunk], Coroutine[Any, Any, Answer]]

TIMEOUT = 30.0


class BaseClient(ABC):
    """Settings of a client.

    Args:
        address: `HOST:PORT` of the gRPC port, or `unix:PATH`. One on this machine is reached
            without a proxy, others as the environment says (`http_proxy`, `no_proxy`).
        timeout: seconds that one call may take, all its attempts and chunks together, unless the
            call says otherwise; `math.inf` waits for ever.
        retry: when to repeat a call; `RetryPolicy(attempts=1)` never does.
        tls: how to encrypt; None does not.
        metadata: headers that go with every call, such as a shared secret. Bytes where the
            name ends in `-bin`.

    Raises:
        ServingError: an address, a file or a number that is none.
    """

    def __init__(
        self,
        address: str,
        timeout: float = TIMEOUT,
        *,
        retry: RetryPolicy | None = None,
        tls: TlsConfig | None = None,
        metadata: Mapping[str, str | bytes] | None = None,
    ):
        self._address = parse_address(address)
        self.address = self._address.target
        self.timeout = timeout
        self.retry = retry or RetryPolicy()
        self._metadata = metadata_pairs(metadata)
        self._credentials = tls.credentials() if tls else None
        self._options = channel_options(self._address, tls)
        self._closed = False
        self._channel: Any = None
        self._methods: dict[str, Any] = {}
        # Complains about a timeout now rather than at the first call.
        Deadline(timeout)
        self._connect()

    @abstractmethod
    def _connect(self) -> None:
        """Open the channel, where that needs no running event loop."""

    @abstractmethod
    async def _send(self, call: Call[Any], timeout: float | None) -> Any:
        """Return the response to one attempt at a call."""

    @abstractmethod
    async def _sleep(self, seconds: float) -> None:
        """Wait before the next attempt."""

    @abstractmethod
    async def _gather(self, send: Send, chunks: Sequence[Chunk], concurrency: int) -> list[Answer]:
        """Return the answers to all chunks in order, with so many of them under way at once."""

    def _open(self, grpc_module: Any) -> None:
        """Open a channel of `grpc` or of `grpc.aio`."""
        if self._credentials is None:
            self._channel = grpc_module.insecure_channel(self.address, self._options)
            return
        self._channel = grpc_module.secure_channel(self.address, self._credentials, self._options)

    def _method(self, call: Call[Any]) -> Any:
        """Return what to call on the channel."""
        if call.path not in self._methods:
            self._methods[call.path] = self._channel.unary_unary(
                call.path,
                request_serializer=type(call.request).SerializeToString,
                response_deserializer=call.response.FromString,
            )
        return self._methods[call.path]

    def _deadline(self, timeout: float | None) -> Deadline:
        return Deadline(self.timeout if timeout is None else timeout)

    async def _run(self, call: Call[R], deadline: Deadline, retry: RetryPolicy | None = None) -> R:
        """Return what a call returns, after as many attempts as the policy allows."""
        if self._closed:
            raise ServingError(f"This client of {self.address} was closed. Make a new one.")
        attempts = Attempts(retry or self.retry, deadline)
        while True:
            try:
                response = await self._send(call, attempts.start())
                break
            except grpc.RpcError as error:
                pause = attempts.pause(Code[error.code().name])
                if pause is None:
                    raise status_error(error, self._address, attempts) from error
            await self._sleep(pause)
        return call.read(response)
