"""The end of a process that serves: at once, whatever its threads are doing."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """While nothing is served yet, SIGTERM and SIGINT end the process with 0. For the main thread.

    Importing TensorFlow takes seconds.
    """

    def end(number: int, frame: object) -> None:
        os._exit(0)

    before = {n: signal.signal(n, end) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_process(code: int = 0) -> None:
    """End this process though threads of it are stuck, as in a load that hangs; does not return.

    Python would wait for some of them, and take TensorFlow apart under the others.
    """
    from serving.model_server.models.storage import remove_copies

    remove_copies()
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
