"""Repeating a call that found no server, or one that is too busy, until its deadline."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from numbers import Real

from serving import arguments
from serving.errors import Code, ServingError

_FOR_EVER = 1e9  # seconds


@dataclass(frozen=True)
class RetryPolicy:
    """How often a call is repeated that ended with UNAVAILABLE, and how long to wait before.

    The n-th pause is uniform in [0, min(max_backoff, initial_backoff · multiplier^(n-1))], so that
    clients turned away together do not come back together ("full jitter": M. Brooker, Exponential
    Backoff And Jitter, AWS Architecture Blog, 2015). All other statuses are final.

    gRPC has retries of its own, by service configuration. They allow at most 5 attempts, give up on
    requests that outgrow a buffer of 256 KiB (a batch of photographs does), and cannot say in the
    error how often they tried.

    Args:
        attempts: how often a call is made at most; 1 turns repetition off.
        initial_backoff, max_backoff: seconds.

    Raises:
        ServingError: a number that is none of these.
    """

    attempts: int = 3
    initial_backoff: float = 0.1
    multiplier: float = 2.0
    max_backoff: float = 2.0

    def __post_init__(self):
        arguments.whole_number("attempts", self.attempts)
        if self.initial_backoff < 0 or self.max_backoff < 0 or self.multiplier < 1:
            raise ServingError(
                "Pauses are not negative and do not shrink. Received: "
                f"initial_backoff={self.initial_backoff}, max_backoff={self.max_backoff}, "
                f"multiplier={self.multiplier}."
            )

    def pause(self, attempts_made: int) -> float:
        """Seconds to wait after so many attempts, drawn anew each time."""
        bound = min(self.initial_backoff, self.max_backoff)
        for _ in range(attempts_made - 1):
            bound = min(bound * self.multiplier, self.max_backoff)
        return random.uniform(0, bound)


class Deadline:
    """A point in time, `timeout` seconds from now.

    Raises:
        ServingError: `timeout` is not positive.
    """

    def __init__(self, timeout: float):
        if isinstance(timeout, bool) or not isinstance(timeout, Real) or not timeout > 0:
            raise ServingError(f"A timeout is a positive number of seconds. Received: {timeout!r}.")
        self.timeout = timeout
        self._end = time.monotonic() + timeout

    def remaining(self) -> float:
        """Seconds until then, 0 when it has passed."""
        return max(0.0, self._end - time.monotonic())

    def grpc_timeout(self) -> float | None:
        """`remaining` as gRPC takes it, where None means for ever; it cannot count very far."""
        remaining = self.remaining()
        return remaining if remaining < _FOR_EVER else None


class Attempts:
    """The attempts at one call."""

    def __init__(self, policy: RetryPolicy, deadline: Deadline):
        self.deadline = deadline
        self.made = 0
        self._policy = policy

    def start(self) -> float | None:
        """Count an attempt; returns the timeout for it."""
        self.made += 1
        return self.deadline.grpc_timeout()

    def pause(self, code: Code) -> float | None:
        """Seconds until the next attempt after one that ended with `code`; None: it was the last.

        A pause that would outlast the deadline is not begun: what the server said tells more than
        that time was up.
        """
        if code != Code.UNAVAILABLE or self.made >= self._policy.attempts:
            return None
        seconds = self._policy.pause(self.made)
        return seconds if seconds < self.deadline.remaining() else None
