"""Search over a release: queries go to the text tower and the index, first images to the reranker.

The versions that `release.json` names go with every query, so that a query is never encoded by one
version and searched in another's index, or ordered by another's reranker.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from serving import arguments
from serving.checksums import release_listing
from serving.client import PredictClient
from serving.current_release import ActiveRelease, CurrentRelease
from serving.errors import Code, ServingError, StatusError
from serving.index import Index, SearchIndex
from serving.local_images import read_local_images
from serving.release import INDEX, Release, root_path
from serving.rerank_settings import RERANKER, RerankSettings
from serving.reranking import Hits, ReadImages, Reranker

TEXT_TOWER = "text_tower"
_SIGNATURE = "encode_text"
_QUERY = "query"
_EMBEDDING = "embedding"


class SearchService:
    """Answers queries from the current release, and moves to a new one when it is being served.

    A new release is taken up once the model server has loaded it; until then queries are answered
    by the one before. So are those that meet a slower one of several servers behind one address.
    What is damaged is not taken up: the log says so, and queries go on with what is in memory.
    Safe to share between threads.

    Args:
        release_root: folder with release.json.
        client: client of the model server that serves this root.
        ef_search: breadth of an HNSW search.
        read_images: gets the images of hits, where a reranker needs them; files by default.

    Raises:
        ServingError: no complete release, or one without an index or a text tower.
    """

    def __init__(
        self,
        release_root: str | Path,
        client: PredictClient,
        ef_search: int = 64,
        read_images: ReadImages = read_local_images,
    ):
        self._root = root_path(release_root)
        self._client = client
        self._ef_search = ef_search
        self._read_images = read_images
        self._current = CurrentRelease(
            self._root, self._is_served, self._load_index, client.address
        )

    @property
    def release(self) -> Release:
        """The release that answers now."""
        return self._current.get().release

    def search(
        self,
        queries: Sequence[str],
        k: int,
        rerank: int | None = None,
        *,
        deadline: float | None = None,
        order: str | None = None,
        weight: float | None = None,
    ) -> list[Hits]:
        """For each query up to k images, best first.

        A release with a reranker has its first images ordered by it; `Hits.ranking` says whose
        order an answer has. A reranker that does not answer in time leaves that of the towers.

        Args:
            queries: texts.
            k: images of each.
            rerank: how many of the towers' first images the reranker scores; 0 asks it nothing,
                None is what the release says.
            deadline: seconds that reranking may take; None is the client's timeout.
            order: "score", or "sum" of cosine and weight · score; None is what the release says.
            weight: of the score in the sum; likewise.

        Raises:
            ServingError: queries that are no list of texts, or an empty one; numbers out of
                range; a reranker is asked for and the release has none, or one whose scores are
                not finite; the model server does not answer, or serves no version of the release.
        """
        queries, k = arguments.queries(queries), arguments.whole_number("k", k)
        if rerank is not None:
            rerank = arguments.whole_number("rerank", rerank, least=0)
        if deadline is not None and not (isinstance(deadline, int | float) and deadline > 0):
            raise ServingError(f"deadline is a number of seconds above 0. Received: {deadline!r}.")
        if not queries:
            return []
        active = self._current.get()
        try:
            embeddings = self._encode(queries, active.release)
        except StatusError as error:
            if error.code != Code.NOT_FOUND:
                raise
            other = self._current.other_than(active)
            if other is None:
                raise
            active = other
            embeddings = self._encode(queries, active.release)
        reranker = self._reranker(active, rerank, order, weight)
        if reranker is None:
            version = active.release.version
            return [Hits(hits, version) for hits in active.index.search(embeddings, k)]
        found = active.index.search(embeddings, max(k, reranker.settings.candidates))
        answers = reranker.rerank(queries, found, deadline)
        return [Hits(hits[:k], hits.release, hits.ranking, hits.note) for hits in answers]

    def _reranker(
        self, active: ActiveRelease, rerank: int | None, order: str | None, weight: float | None
    ) -> Reranker | None:
        """Return the reranker of a release, if it is asked for."""
        release = active.release
        version = release.models.get(RERANKER)
        if version is None:
            if rerank:
                raise ServingError(
                    f"Release {release.version} of {self._root} has no {RERANKER}. Release one "
                    f"with it (release.reranker), or search with rerank=0. Received: {rerank=}."
                )
            return None
        if rerank == 0:
            return None
        released = RerankSettings.of(release.rerank)
        settings = RerankSettings(
            order=released.order if order is None else order,
            weight=released.weight if weight is None else weight,
            candidates=released.candidates if rerank is None else rerank,
        )
        return Reranker(
            self._client, version, release.version, active.index, settings, self._read_images
        )

    def _encode(self, queries: list[str], release: Release) -> np.ndarray:
        outputs = self._client.predict(
            TEXT_TOWER,
            {_QUERY: queries},
            signature_name=_SIGNATURE,
            version=release.models[TEXT_TOWER],
        )
        return outputs[_EMBEDDING]

    def _is_served(self, release: Release) -> bool:
        if TEXT_TOWER not in release.models or release.index is None:
            raise ServingError(
                f"Release {release.version} of {self._root} cannot be searched: it needs a "
                f"{TEXT_TOWER} and an index."
            )
        needed = {name: release.models.get(name) for name in (TEXT_TOWER, RERANKER)}
        return all(
            self._has_version(name, version)
            for name, version in needed.items()
            if version is not None
        )

    def _has_version(self, name: str, version: int) -> bool:
        try:
            statuses = self._client.model_status(name)
        except StatusError as error:
            if error.code == Code.NOT_FOUND:
                return False
            raise
        return any(s.version == version and s.state == "AVAILABLE" for s in statuses)

    def _load_index(self, release: Release) -> Index:
        folder = self._root / INDEX / str(release.index)
        index = SearchIndex.load(folder, self._ef_search, release_listing(release, INDEX))
        if index.tower_version != release.models[TEXT_TOWER]:
            raise ServingError(
                f"The index in {folder} belongs to tower version {index.tower_version}, release "
                f"{release.version} names version {release.models[TEXT_TOWER]}. Publish it again."
            )
        if index.has_image_tokens and index.reranker_version != release.models.get(RERANKER):
            raise ServingError(
                f"The image tokens in {folder} belong to {RERANKER} version "
                f"{index.reranker_version}, release {release.version} names version "
                f"{release.models.get(RERANKER)}. Publish it again."
            )
        return index


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
