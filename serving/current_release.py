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
# So long do queries wait for the index of a new release; a larger one is loaded beside them.
_PATIENCE_SECONDS = 0.5

_Stamp = tuple[int, ...] | None

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ActiveRelease:
    """A release in use, with its index in memory."""

    release: Release
    index: Index


@dataclass
class _Loading:
    """The index of a new release, on its way into memory."""

    release: Release
    stamp: _Stamp
    thread: threading.Thread
    index: Index | None = None
    error: Exception | None = None


class CurrentRelease:
    """Follows release.json. Safe to share between threads.

    Args:
        root: the release root.
        is_served: whether the model server has a release; raises ServingError where it cannot be
            told, or where the release cannot be searched.
        load_index: reads the index of a release.
        server: what errors call the model server.

    Raises:
        ServingError: there is no good release, or none that is served.
    """

    def __init__(
        self,
        root: Path,
        is_served: Callable[[Release], bool],
        load_index: Callable[[Release], Index],
        server: str,
    ):
        self._root = root
        self._is_served = is_served
        self._load_index = load_index
        self._server = server
        self._lock = threading.Lock()
        self._before: ActiveRelease | None = None
        self._loading: _Loading | None = None
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

    def get(self) -> ActiveRelease:
        """Return the release to use.

        Raises:
            ServingError: the server has neither the active release, nor the current one, nor the
                one before that.
        """
        with self._lock:
            self._look(_PATIENCE_SECONDS)
            return self._active

    def other_than(self, refused: ActiveRelease) -> ActiveRelease | None:
        """Return what to use instead of a release that the server which answered does not have.

        Raises:
            ServingError: there would be another, and it is damaged.
        """
        with self._lock:
            self._seen = None
            self._retry_at = 0.0
            self._look(None)
            if self._active is not refused:
                return self._active  # the one that was refused has been unloaded
            if self._before is None:
                previous = previous_release(self._root, refused.release)
                if previous is None and self._failure is not None:
                    raise ServingError(self._failure[1])
                if previous is not None:
                    self._before = ActiveRelease(previous, self._load_index(previous))
            return self._before

    def _look(self, patience: float | None) -> None:
        """Move to the current release if there is another one; wait so long for its index."""
        if self._loading is not None:
            if patience is None:
                self._loading.thread.join()
            elif self._loading.thread.is_alive():
                return
            self._finish_loading()
        stamp = self._stamp()
        if stamp is not None and stamp == self._seen:
            return
        if self._failure is not None and self._failure[0] == stamp:
            if time.monotonic() < self._retry_at:
                return
            if patience is not None:
                patience = 0.0  # queries waited the first time
        try:
            release = Release.load(self._root)
            if release == self._active.release:
                self._settle(stamp)
                return
            served = self._is_served(release)
            lost = not served and not self._is_served(self._active.release)
        except ServingError as error:
            self._keep(stamp, error)
            return
        if served:
            self._start_loading(release, stamp)
            assert self._loading is not None
            self._loading.thread.join(patience)
            if not self._loading.thread.is_alive():
                self._finish_loading()
        elif lost:
            # `_seen` stays as it was: the next query looks for the current release again.
            self._active = self._previous_served(release)
            self._before = None

    def _start_loading(self, release: Release, stamp: _Stamp) -> None:
        def load() -> None:
            try:
                loading.index = self._load_index(release)
            except Exception as error:
                loading.error = error

        thread = threading.Thread(target=load, name="load-index", daemon=True)
        self._loading = loading = _Loading(release, stamp, thread)
        thread.start()

    def _finish_loading(self) -> None:
        loading, self._loading = self._loading, None
        assert loading is not None
        if loading.stamp != self._stamp():
            return  # release.json has changed meanwhile: what it says now is looked at next
        if loading.index is None:
            assert loading.error is not None
            self._keep(loading.stamp, loading.error)
            return
        self._active = ActiveRelease(loading.release, loading.index)
        self._before = None
        self._settle(loading.stamp)
        _logger.info("Release %d of %s answers now.", loading.release.version, self._root)

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
