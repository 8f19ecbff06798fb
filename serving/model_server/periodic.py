"""A function that is called every so many seconds in a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

_logger = logging.getLogger(__name__)


class Periodic:
    """Calls `function` every `seconds`, the first time after that long, until stopped.

    An error that escapes `function` is logged, and the next call comes all the same: one thing that
    cannot be read now must not end the watch over all others.
    """

    def __init__(self, function: Callable[[], None], seconds: float, name: str):
        self._function = function
        self._seconds = seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def stop(self, timeout: float | None = None) -> bool:
        """Return when the call that is under way has ended, or after `timeout` seconds.

        Returns:
            Whether it has ended.
        """
        self._stopped.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopped.wait(self._seconds):
            try:
                self._function()
            except Exception:
                _logger.exception("%s failed; it goes on", self._thread.name)
