"""The second look at a search's first images: a reranker reads query and image together.

What it has read of the gallery's images before (`serving.image_tokens`) is used where the index
holds it, and the images themselves where not. It has a deadline: what is not scored by then keeps
the towers' order, and the answer says so.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from serving.client import PredictClient
from serving.errors import Code, ServingError, StatusError
from serving.index import Hit, Index
from serving.rerank_settings import RERANKER, SUM, RerankSettings

Ranking = Literal["tower", "reranker"]
# Reads the images of hits, below the index's source prefix; None for one that cannot be read.
ReadImages = Callable[[Sequence[Hit], str | None], list[bytes | None]]

_SCORE, _SCORE_TOKENS = "score", "score_tokens"
_QUERY, _IMAGE_BYTES, _TOKENS = "query", "image_bytes", "tokens"
# Rows of one request: of tokens 4 MiB, the usual bound of a message.
_ROWS = 256
# That a reranker cannot answer now is no reason to answer nothing.
_NOT_NOW = {
    Code.DEADLINE_EXCEEDED,
    Code.UNAVAILABLE,
    Code.RESOURCE_EXHAUSTED,
    Code.NOT_FOUND,
}

_logger = logging.getLogger(__name__)


class Hits(list[Hit]):
    """The images of one query, best first.

    Attributes:
        ranking: whose order it is, as the click log's column of that name has it.
        note: why it is the towers', wholly or in part, though a reranker was asked; "" else.
        release: version of the release that answered; likewise a column of the click log.
    """

    def __init__(
        self,
        hits: Sequence[Hit],
        release: int,
        ranking: Ranking = "tower",
        note: str = "",
    ):
        super().__init__(hits)
        self.release = release
        self.ranking: Ranking = ranking
        self.note = note


@dataclasses.dataclass(frozen=True)
class Reranker:
    """The reranker of one release on a model server.

    Attributes:
        client: of the server.
        version: of the reranker, that of the release.
        release: version of the release.
        index: of the release; its hits are scored.
        settings: which hits, and in what order they come then.
        read_images: for those whose tokens the index lacks.
    """

    client: PredictClient
    version: int
    release: int
    index: Index
    settings: RerankSettings
    read_images: ReadImages

    def rerank(
        self, queries: Sequence[str], found: Sequence[Sequence[Hit]], deadline: float | None
    ) -> list[Hits]:
        """Return the hits of each query in the final order.

        All candidates of all queries are scored in one request (in several above 256 pairs).
        Those that cannot be scored, for want of the image, stay at their places.

        Args:
            queries: B of them.
            found: hits of each, in the towers' order; those behind the candidates stay there.
            deadline: seconds for all of it; None is the client's own timeout.

        Raises:
            StatusError: the server refused the request; not: it did not answer in time, or does
                not serve the reranker now.
        """
        pairs = [
            (query, hit)
            for query, hits in zip(queries, found, strict=True)
            for hit in hits[: self.settings.candidates]
        ]
        try:
            scores = self._score(pairs, deadline)
        except StatusError as error:
            if error.code not in _NOT_NOW:
                raise
            late = error.code == Code.DEADLINE_EXCEEDED and deadline is not None
            reason = f"it took longer than {deadline:g} s" if late else str(error)
            note = f"The towers' order, without the {RERANKER}: {reason}"
            _logger.warning("%s", note)
            return [Hits(hits, self.release, note=note) for hits in found]
        answers = []
        for hits in found:
            count = min(len(hits), self.settings.candidates)
            mine, scores = scores[:count], scores[count:]
            answers.append(self._ordered(hits, mine))
        return answers

    def _score(self, pairs: Sequence[tuple[str, Hit]], deadline: float | None) -> np.ndarray:
        """Score of each pair, float32; NaN where there is no image."""
        started = time.monotonic()
        scores = np.full(len(pairs), np.nan, np.float32)
        if not pairs:
            return scores
        tokens = self.index.image_tokens([hit.row for _, hit in pairs])
        inputs: dict[str, Any]
        if tokens is not None:
            rows = list(range(len(pairs)))
            inputs, signature = {_TOKENS: tokens}, _SCORE_TOKENS
        else:
            images = self.read_images([hit for _, hit in pairs], self.index.source_prefix)
            rows = [row for row, image in enumerate(images) if image is not None]
            inputs, signature = {_IMAGE_BYTES: [images[row] for row in rows]}, _SCORE
        if not rows:
            return scores
        left = None
        if deadline is not None:
            left = deadline - (time.monotonic() - started)
            if left <= 0:
                raise StatusError(Code.DEADLINE_EXCEEDED, "The images were not read in time.")
        answer = self.client.predict(
            RERANKER,
            {_QUERY: [pairs[row][0] for row in rows], **inputs},
            signature_name=signature,
            version=self.version,
            max_batch_size=_ROWS,
            timeout=left,
        )
        if not np.isfinite(answer["score"]).all():
            raise ServingError(
                f"The {RERANKER}, version {self.version}, returns scores that are not finite. "
                "Roll the release back, or search with rerank=0."
            )
        scores[rows] = answer["score"]
        return scores

    def _ordered(self, hits: Sequence[Hit], scores: np.ndarray) -> Hits:
        places = [place for place, score in enumerate(scores) if not np.isnan(score)]
        scored = [dataclasses.replace(hits[p], rerank_score=float(scores[p])) for p in places]
        ordered = list(hits)
        for place, hit in zip(places, sorted(scored, key=self._value, reverse=True)):
            ordered[place] = hit
        unread = len(scores) - len(places)
        note = ""
        if unread:
            note = (
                f"{unread} of {len(scores)} images keep their place in the towers' order: the "
                "index holds no tokens of them, and their uris are no files that can be read here."
            )
            _logger.warning("%s", note)
        return Hits(ordered, self.release, "reranker" if places else "tower", note)

    def _value(self, hit: Hit) -> float:
        """What a scored hit is ordered by; of equal ones the towers' better comes first."""
        assert hit.rerank_score is not None
        if self.settings.order == SUM:
            return hit.score + self.settings.weight * hit.rerank_score
        return hit.rerank_score
