"""What a search service answers, as its clients return it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class SearchHit:
    """One result.

    Attributes:
        id: of the item.
        rank: from 1 on.
        score: cosine to the query.
        rerank_score: of the reranker; None where that did not score it.
        item: its columns by name.
        image: address of its picture, below the service's.
        thumbnail: of a small one.
        cosines: to each part of the query, with ``explain``.
    """

    id: str
    rank: int
    score: float
    rerank_score: float | None
    item: Mapping[str, Any]
    image: str
    thumbnail: str
    cosines: Sequence[float] | None = None


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        hits: best first.
        release: version that answered.
        ranking: "tower" or "reranker": whose order it is.
        note: why it is not the order that was asked for; "" if it is.
        selected: how many items the filter leaves.
        cached: it was kept from an earlier search.
        token: to tell of clicks with; None where nothing is recorded.
        milliseconds: by stage, and in all.
    """

    hits: Sequence[SearchHit]
    release: int
    ranking: str
    note: str = ""
    selected: int = 0
    cached: bool = False
    token: str | None = None
    milliseconds: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> SearchResult:
        """Return what the service's JSON says; keys that are unknown here are left out."""
        hits = [SearchHit(**_known(SearchHit, hit)) for hit in content["hits"]]
        return cls(**{**_known(cls, content), "hits": hits})


def _known(kind: Any, content: Mapping[str, Any]) -> dict[str, Any]:
    return {name: content[name] for name in kind.__dataclass_fields__ if name in content}
