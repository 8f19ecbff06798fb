"""Search over a release: queries go to the text tower and the index, first images to the reranker.

The versions that `release.json` names go with every query, so that a query is never encoded by one
version and searched in another's index, or ordered by another's reranker.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from serving import arguments
from serving.checksums import release_listing
from serving.client import PredictClient
from serving.current_release import ActiveRelease, CurrentRelease
from serving.errors import Code, ServingError, StatusError, UnknownItemError
from serving.image_store import ImageStore
from serving.index import Index, SearchIndex
from serving.masks import MaskCache
from serving.query_parts import QueryPart, checked_parts, weighted_sum
from serving.release import INDEX, Release, root_path
from serving.rerank_settings import RERANKER, RerankSettings
from serving.reranking import Hits, ReadImages, Reranker

T = TypeVar("T")

TEXT_TOWER, IMAGE_TOWER = "text_tower", "image_tower"
MOST_HITS = 1000  # of one request, and the highest offset
_ENCODE_TEXT, _ENCODE_IMAGE = "encode_text", "encode_image"
_QUERY, _IMAGE_BYTES = "query", "image_bytes"
_EMBEDDING = "embedding"


@dataclass(frozen=True)
class SearchRequest:
    """One search.

    Attributes:
        parts: what to look for.
        k: hits.
        offset: of the first hit; pages of one search have the same order.
        filter: conditions by item column, see `serving.filters`.
        rerank: how many of the first images the reranker scores; 0 asks it nothing, None is what
            the release says. It orders searches for one text.
        deadline: seconds that reranking may take; None is the client's timeout.
        order: "score", or "sum" of cosine and weight · score; None is what the release says.
        weight: of the score in the sum; likewise.
        explain: also tell the cosine of each hit to each part.

    Raises:
        ServingError: a number out of range, or parts that are none.
    """

    parts: Sequence[QueryPart]
    k: int = 20
    offset: int = 0
    filter: Mapping[str, Any] = field(default_factory=dict)
    rerank: int | None = None
    deadline: float | None = None
    order: str | None = None
    weight: float | None = None
    explain: bool = False

    def __post_init__(self) -> None:
        checked_parts(self.parts)
        arguments.whole_number("k", self.k, most=MOST_HITS)
        arguments.whole_number("offset", self.offset, least=0, most=MOST_HITS)
        if self.rerank is not None:
            arguments.whole_number("rerank", self.rerank, least=0, most=MOST_HITS)
        _check_deadline(self.deadline)

    @property
    def text(self) -> str | None:
        """The text that is searched for, if it is one and nothing else."""
        return self.parts[0].text if len(self.parts) == 1 and self.parts[0].weight > 0 else None


@dataclass(frozen=True)
class SearchAnswer:
    """What one search found.

    Attributes:
        hits: best first, with release, ranking and note.
        index: that was searched; `index.items` knows the columns of a hit's row.
        selected: how many items the filter leaves.
        seconds: by stage: encode, search, rerank.
        cosines: with `explain`: of each hit to each part, float32 [hits, P].
    """

    hits: Hits
    index: Index
    selected: int
    seconds: Mapping[str, float]
    cosines: np.ndarray | None = None


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
        poll_seconds: follow new releases in the background, looking so often, until `close`; None
            looks when a query comes.

    Raises:
        ServingError: no complete release, or one without an index or a text tower.
    """

    def __init__(
        self,
        release_root: str | Path,
        client: PredictClient,
        ef_search: int = 64,
        read_images: ReadImages | None = None,
        poll_seconds: float | None = None,
    ):
        self._root = root_path(release_root)
        self._client = client
        self._ef_search = ef_search
        self._read_images = read_images or ImageStore().servable
        self._masks = MaskCache()
        self._current = CurrentRelease(
            self._root, self._is_served, self._load_index, client.address, poll_seconds
        )

    @property
    def release(self) -> Release:
        """The release that answers now."""
        return self._current.get().release

    @property
    def active(self) -> ActiveRelease:
        """The release that answers now, with its index."""
        return self._current.get()

    def is_ready(self) -> bool:
        """Whether the model server has the release that answers now.

        Raises:
            ServingError: it cannot be asked.
        """
        return self._is_served(self.release)

    def close(self) -> None:
        """Follow no more releases."""
        self._current.close()

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
        _check_deadline(deadline)
        if not queries:
            return []

        def answer(active: ActiveRelease) -> list[Hits]:
            embeddings = self._encode_texts(queries, active.release)
            reranker = self._reranker(active, rerank, order, weight)
            if reranker is None:
                found = active.index.search(embeddings, k)
                answers = [Hits(hits, active.release.version) for hits in found]
            else:
                found = active.index.search(embeddings, max(k, reranker.settings.candidates))
                answers = reranker.rerank(queries, found, deadline)
            return [_page(hits, 0, k, active.index) for hits in answers]

        return self._of_one_release(answer)

    def answer(self, request: SearchRequest) -> SearchAnswer:
        """Return what one search finds, all of it in one release.

        Items that the request names are no hits of it.

        Raises:
            UnknownItemError: an id that is not in the index.
            ServingError: a filter that the items cannot be compared with, parts that cancel each
                other, an image that cannot be decoded, or what `search` raises.
        """
        return self._of_one_release(lambda active: self._answer(request, active))

    def _answer(self, request: SearchRequest, active: ActiveRelease) -> SearchAnswer:
        index = active.index
        clock = Stopwatch()
        named = _rows_of(request.parts, index)
        mask, selected = None, len(index)
        if request.filter:
            mask, selected = self._masks.get(active, request.filter)
        parts = self._part_vectors(request.parts, active)
        vector = weighted_sum(parts, [part.weight for part in request.parts])
        clock.lap("encode")
        reranker = None
        if request.text is not None:
            reranker = self._reranker(active, request.rerank, request.order, request.weight)
        wanted = request.offset + request.k
        depth = max(wanted, reranker.settings.candidates) if reranker is not None else wanted
        [hits] = index.search(vector[None], depth + len(named), mask)
        hits = [hit for hit in hits if hit.row not in named][:depth]
        clock.lap("search")
        ordered = Hits(hits, active.release.version)
        if reranker is not None:
            assert request.text is not None
            [ordered] = reranker.rerank([request.text], [hits], request.deadline)
            clock.lap("rerank")
        page = _page(ordered, request.offset, request.k, index)
        cosines = None
        if request.explain:
            cosines = index.vectors([hit.row for hit in page]) @ parts.T
        return SearchAnswer(page, index, selected, clock.seconds, cosines)

    def _of_one_release(self, answer: Callable[[ActiveRelease], T]) -> T:
        """Return an answer of the active release, or of the one that the server has instead."""
        active = self._current.get()
        try:
            return answer(active)
        except StatusError as error:
            if error.code != Code.NOT_FOUND:
                raise
            other = self._current.other_than(active)
            if other is None:
                raise
            return answer(other)

    def _part_vectors(self, parts: Sequence[QueryPart], active: ActiveRelease) -> np.ndarray:
        """Unit vectors of the parts, float32 [P, D]."""
        vectors = np.empty((len(parts), active.index.dimension), np.float32)
        texts = [(place, part.text) for place, part in enumerate(parts) if part.text is not None]
        images = [(place, part.image) for place, part in enumerate(parts) if part.image is not None]
        rows = [
            (place, active.index.items.row_of(part.id))
            for place, part in enumerate(parts)
            if part.id is not None
        ]
        if texts:
            encoded = self._encode_texts([text for _, text in texts], active.release)
            vectors[[place for place, _ in texts]] = encoded
        if images:
            from serving.images import servable_image

            encoded = self._encode_images(
                [servable_image(image) for _, image in images], active.release
            )
            vectors[[place for place, _ in images]] = encoded
        if rows:
            own = active.index.vectors([row for _, row in rows if row is not None])
            vectors[[place for place, _ in rows]] = own
        return vectors

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

    def _encode_texts(self, queries: list[str], release: Release) -> np.ndarray:
        outputs = self._client.predict(
            TEXT_TOWER,
            {_QUERY: queries},
            signature_name=_ENCODE_TEXT,
            version=release.models[TEXT_TOWER],
        )
        return outputs[_EMBEDDING]

    def _encode_images(self, images: list[bytes], release: Release) -> np.ndarray:
        version = release.models.get(IMAGE_TOWER)
        if version is None:
            raise ServingError(
                f"Release {release.version} of {self._root} has no {IMAGE_TOWER}, so it cannot be "
                "searched with an image."
            )
        outputs = self._client.predict(
            IMAGE_TOWER,
            {_IMAGE_BYTES: images},
            signature_name=_ENCODE_IMAGE,
            version=version,
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


def _page(hits: Hits, offset: int, k: int, index: Index) -> Hits:
    """Return a part of the hits, with their items' columns."""
    shown = [
        dataclasses.replace(hit, item=index.items.values(hit.row))
        for hit in hits[offset : offset + k]
    ]
    return Hits(shown, hits.release, hits.ranking, hits.note)


class Stopwatch:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """End a stage."""
        now = time.perf_counter()
        self.seconds[stage] = now - self._last
        self._last = now


def _rows_of(parts: Sequence[QueryPart], index: Index) -> set[int]:
    """Rows of the items that parts name."""
    rows = set()
    for part in parts:
        if part.id is not None:
            row = index.items.row_of(part.id)
            if row is None:
                raise UnknownItemError(f"There is no item {part.id[:200]!r} in the index.")
            rows.add(row)
    return rows


def _check_deadline(deadline: Any) -> None:
    if deadline is not None and not (isinstance(deadline, int | float) and deadline > 0):
        raise ServingError(f"deadline is a number of seconds above 0. Received: {deadline!r}.")


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
