"""The release that queries are answered from: the newest good one that the model server has.

A release.json that turned bad, a newer release with a damaged index, a server that does not answer:
each is logged once, and what is in memory goes on answering until there is something better.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from serving.commands import command
from serving.errors import ServingError
from serving.index import Index
from serving.release import RELEASE_FILE, Release, previous_release

# What was bad is looked at again after so many seconds, even if release.json did not change: a
# folder that it names may have been restored. The pause doubles up to the second number.
_RETRY_SECONDS = 1.0
_LONGEST_RETRY_SECONDS = 4.0
# So long does the query that finds a new release wait for it.
_PATIENCE_SECONDS = 0.5

_Stamp = tuple[int, ...] | None

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ActiveRelease:
    """A release in use, with its index in memory."""

    release: Release
    index: Index


class CurrentRelease:
    """Follows release.json. Safe to share between threads.

    No query waits for another's look at disk and server: looks are made by a thread, and swap what
    is active in one assignment. Who holds the release before it goes on with that.

    Args:
        root: the release root.
        is_served: whether the model server has a release; raises ServingError where it cannot be
            told, or where the release cannot be searched.
        load_index: reads the index of a release.
        server: what errors call the model server.
        poll_seconds: look so often, until `close`, and let no query wait. None looks when a query
            comes and release.json has changed; the query that finds it so waits for a moment.

    Raises:
        ServingError: there is no good release, or none that is served.
    """

    def __init__(
        self,
        root: Path,
        is_served: Callable[[Release], bool],
        load_index: Callable[[Release], Index],
        server: str,
        poll_seconds: float | None = None,
    ):
        self._root = root
        self._is_served = is_served
        self._load_index = load_index
        self._server = server
        self._lock = threading.Lock()  # of a look, and of what it changes
        self._starting = threading.Lock()
        self._looking: threading.Thread | None = None
        self._before: ActiveRelease | None = None
        self._failure: tuple[_Stamp, str] | None = None
        self._retry_at = 0.0
        self._pause = _RETRY_SECONDS
        # Of the release.json whose release is active; None where a newer one is waited for.
        self._seen: _Stamp = None
        stamp = self._stamp()
        release = Release.load(root)
        if is_served(release):
            self._active = ActiveRelease(release, load_index(release))
            self._seen = stamp
        else:
            self._active = self._previous_served(release)
        self._closed = threading.Event()
        self._poller: threading.Thread | None = None
        if poll_seconds is not None:
            self._poller = threading.Thread(
                target=self._poll, args=(poll_seconds,), name="follow-release", daemon=True
            )
            self._poller.start()

    def get(self) -> ActiveRelease:
        """Return the release to use."""
        if self._poller is None and self._is_due(self._stamp()):
            self._look_aside()
        return self._active

    def other_than(self, refused: ActiveRelease) -> ActiveRelease | None:
        """Return what to use instead of a release that the server which answered does not have.

        Raises:
            ServingError: there would be another, and it is damaged; or the server has neither the
                active release, nor the current one, nor the one before that.
        """
        with self._lock:
            self._seen = None
            self._retry_at = 0.0
            self._look()
            if self._active is not refused:
                return self._active  # the one that was refused has been unloaded
            if self._before is None:
                previous = previous_release(self._root, refused.release)
                if previous is None and self._failure is not None:
                    raise ServingError(self._failure[1])
                if previous is not None:
                    self._before = ActiveRelease(previous, self._load_index(previous))
            return self._before

    def close(self) -> None:
        """Look no more; what is active stays so."""
        self._closed.set()
        if self._poller is not None:
            self._poller.join()

    def _poll(self, seconds: float) -> None:
        while not self._closed.wait(seconds):
            if self._is_due(self._stamp()):
                self._look_safely()

    def _is_due(self, stamp: _Stamp) -> bool:
        """Whether there is something to look at: release.json changed, or a pause is over."""
        if stamp is not None and stamp == self._seen:
            return False
        failure = self._failure
        return failure is None or failure[0] != stamp or time.monotonic() >= self._retry_at

    def _look_aside(self) -> None:
        """Look in a thread; whoever starts it waits for a moment, the others do not."""
        with self._starting:
            if self._looking is not None and self._looking.is_alive():
                return
            is_known = self._failure is not None and self._failure[0] == self._stamp()
            self._looking = threading.Thread(
                target=self._look_safely, name="look-at-release", daemon=True
            )
            self._looking.start()
        if not is_known:  # queries waited for it the first time
            self._looking.join(_PATIENCE_SECONDS)

    def _look_safely(self) -> None:
        with self._lock:
            try:
                self._look()
            except ServingError as error:  # no release is served now: the queries will say so
                self._keep(self._stamp(), error)

    def _look(self) -> None:
        """Move to the current release if there is another one."""
        stamp = self._stamp()
        if not self._is_due(stamp):
            return
        try:
            release = Release.load(self._root)
            if release == self._active.release:
                self._settle(stamp)
                return
            served = self._is_served(release)
            lost = not served and not self._is_served(self._active.release)
            index = self._load_index(release) if served else None
        except Exception as error:
            self._keep(stamp, error)
            return
        if self._stamp() != stamp:
            return  # release.json has changed meanwhile: what it says now is looked at next
        if index is not None:
            self._active = ActiveRelease(release, index)
            self._before = None
            self._settle(stamp)
            _logger.info("Release %d of %s answers now.", release.version, self._root)
        elif lost:
            # `_seen` stays as it was: the next query looks for the current release again.
            self._active = self._previous_served(release)
            self._before = None

    def _settle(self, stamp: _Stamp) -> None:
        if self._failure is not None:
            _logger.info("%s is good again.", self._root / RELEASE_FILE)
        self._seen = stamp
        self._failure = None

    def _keep(self, stamp: _Stamp, error: Exception) -> None:
        """Stay with what is in memory, and say why: once per change."""
        text = str(error) if isinstance(error, ServingError) else repr(error)
        self._pause = min(2 * self._pause, _LONGEST_RETRY_SECONDS)
        if self._failure != (stamp, text):
            self._pause = _RETRY_SECONDS
            _logger.warning(
                "Release %d of %s goes on answering: %s",
                self._active.release.version,
                self._root,
                text,
            )
        self._failure = (stamp, text)
        self._retry_at = time.monotonic() + self._pause

    def _previous_served(self, release: Release) -> ActiveRelease:
        previous = previous_release(self._root, release)
        if previous is not None and self._is_served(previous):
            return ActiveRelease(previous, self._load_index(previous))
        raise ServingError(
            f"The model server at {self._server} serves neither release {release.version} of "
            f"{self._root} nor the one before. Start it on this root with "
            f"`{command('vlsearch', 'serve', self._root)}`, "
            "or wait until it has loaded the release."
        )

    def _stamp(self) -> _Stamp:
        """Return what changes when release.json does; None if it cannot be looked at."""
        try:
            status = (self._root / RELEASE_FILE).stat()
        except (OSError, ValueError):
            return None
        return (
            status.st_dev,
            status.st_ino,
            status.st_mtime_ns,
            status.st_ctime_ns,
            status.st_size,
        )
