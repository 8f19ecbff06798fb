"""Search over a release: the query goes through the text tower, its embedding through the index.

The version that `release.json` names goes with every query, so that a query is never encoded by one
version and searched in another's index.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from serving import arguments
from serving.client import PredictClient
from serving.commands import command
from serving.errors import Code, ServingError, StatusError
from serving.index import Hit, Index, SearchIndex
from serving.release import INDEX, RELEASE_FILE, Release, previous_release

TEXT_TOWER = "text_tower"
_SIGNATURE = "encode_text"
_QUERY = "query"
_EMBEDDING = "embedding"


@dataclass(frozen=True)
class _Active:
    """A release in use, with its index in memory."""

    release: Release
    index: Index


class SearchService:
    """Answers queries from the current release, and moves to a new one when it is being served.

    A new release is taken up once the model server has loaded it; until then queries are answered
    by the one before. So are those that meet a slower one of several servers behind one address.
    Safe to share between threads.

    Args:
        release_root: folder with release.json.
        client: client of the model server that serves this root.
        ef_search: breadth of an HNSW search.

    Raises:
        ServingError: no complete release, or one without an index or a text tower.
    """

    def __init__(self, release_root: str | Path, client: PredictClient, ef_search: int = 64):
        self._root = Path(release_root)
        self._client = client
        self._ef_search = ef_search
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._active: _Active | None = None
        self._before: _Active | None = None
        self._current()

    @property
    def release(self) -> Release:
        """The release that answers now."""
        return self._current().release

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """For each query up to k images, best first.

        Raises:
            ServingError: queries that are no list of texts, or an empty one; k that is no whole
                number from 1 on; the model server does not answer, or serves no version of the
                release.
        """
        queries, k = arguments.queries(queries), arguments.whole_number("k", k)
        if not queries:
            return []
        active = self._current()
        try:
            embeddings = self._encode(queries, active.release)
        except StatusError as error:
            if error.code != Code.NOT_FOUND:
                raise
            other = self._other_than(active)
            if other is None:
                raise
            active = other
            embeddings = self._encode(queries, active.release)
        return active.index.search(embeddings, k)

    def _encode(self, queries: list[str], release: Release) -> np.ndarray:
        outputs = self._client.predict(
            TEXT_TOWER,
            {_QUERY: queries},
            signature_name=_SIGNATURE,
            version=release.models[TEXT_TOWER],
        )
        return outputs[_EMBEDDING]

    def _other_than(self, active: _Active) -> _Active | None:
        """Return what to use instead of a release that the server which answered does not have."""
        with self._lock:
            self._seen = None
        current = self._current()
        if current is not active:
            return current  # the one that was active has been unloaded
        with self._lock:
            if self._before is None:
                previous = previous_release(self._root, active.release)
                self._before = None if previous is None else self._with_index(previous)
            return self._before

    def _current(self) -> _Active:
        """Return the release to use; reads release.json again if its inode or time changed."""
        with self._lock:
            stamp = self._stamp()
            if self._active is None or stamp != self._seen:
                self._take_up(Release.load(self._root), stamp)
            assert self._active is not None
            return self._active

    def _take_up(self, release: Release, stamp: tuple[int, int, int] | None) -> None:
        if self._active is not None and self._active.release == release:
            self._seen = stamp
        elif self._is_served(release):
            self._active = self._with_index(release)
            self._before = None
            self._seen = stamp
        elif self._active is None or not self._is_served(self._active.release):
            # `_seen` stays as it was: the next query looks for the current release again.
            self._active = self._previous_served(release)
            self._before = None

    def _previous_served(self, release: Release) -> _Active:
        previous = previous_release(self._root, release)
        if previous is not None and self._is_served(previous):
            return self._with_index(previous)
        raise ServingError(
            f"The model server at {self._client.address} serves neither release {release.version} "
            f"of {self._root} nor the one before. Start it on this root with "
            f"`{command('vlsearch', 'serve', self._root)}`, or wait until it has loaded the "
            "release."
        )

    def _is_served(self, release: Release) -> bool:
        wanted = release.models.get(TEXT_TOWER)
        if wanted is None or release.index is None:
            raise ServingError(
                f"Release {release.version} of {self._root} cannot be searched: it needs a "
                f"{TEXT_TOWER} and an index."
            )
        try:
            statuses = self._client.model_status(TEXT_TOWER)
        except StatusError as error:
            if error.code == Code.NOT_FOUND:
                return False
            raise
        return any(s.version == wanted and s.state == "AVAILABLE" for s in statuses)

    def _with_index(self, release: Release) -> _Active:
        folder = self._root / INDEX / str(release.index)
        index = SearchIndex.load(folder, self._ef_search)
        if index.tower_version != release.models[TEXT_TOWER]:
            raise ServingError(
                f"The index in {folder} belongs to tower version {index.tower_version}, release "
                f"{release.version} names version {release.models[TEXT_TOWER]}. Publish it again."
            )
        return _Active(release, index)

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            status = (self._root / RELEASE_FILE).stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size


@contextlib.contextmanager
def embedded_server(release_root: str | Path) -> Iterator[PredictClient]:
    """A model server in this process on a free loopback port, and a client of it, for one block.

    Raises:
        ServingError: no complete release, or models that cannot be loaded.
    """
    # Imports TensorFlow, which whoever brings a client of a running server does without.
    from serving.model_server.options import release_options
    from serving.model_server.server import ModelServer

    options = release_options(release_root, port=None, rest_api_port=0, max_num_load_retries=0)
    with ModelServer(options) as server, PredictClient(f"127.0.0.1:{server.grpc_port}") as client:
        yield client
