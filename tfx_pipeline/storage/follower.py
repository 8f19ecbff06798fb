"""A thread that brings each new release of a bucket to the local disk while a server runs."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

from serving.errors import ServingError
from tfx_pipeline.storage.releases import read_release, stage_to_cache
from vl_models.errors import UserError

POLL_SECONDS = 5.0

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def following(uri: str, seconds: float = POLL_SECONDS) -> Iterator[None]:
    """Stage the bucket's releases as they come, for one block.

    What goes wrong is logged, and tried again: a server goes on with what it has.
    """
    stop = threading.Event()
    thread = threading.Thread(target=_follow, args=(uri, seconds, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()


def _follow(uri: str, seconds: float, stop: threading.Event) -> None:
    seen = None
    while not stop.wait(seconds):
        try:
            release = read_release(uri)
            if release is None or release == seen:
                continue
            root, staged = stage_to_cache(uri)
            seen = release
            logger.info("%s: release %d is in %s", uri, staged.version, root)
        except (UserError, ServingError, OSError) as error:
            logger.warning("%s: cannot be followed now: %s", uri, error)
