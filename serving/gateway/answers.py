"""What the API takes and gives: its JSON, as OpenAPI describes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from serving.errors import ServingError
from serving.gateway.gateway import Gateway, GivenAnswer
from serving.gateway.uploads import checked_image, decode_base64
from serving.query_parts import MOST_PARTS, QueryPart
from serving.search import MOST_HITS, SearchRequest

_MOST_K = 200
_Text = Annotated[str, Field(max_length=2000)]
_Id = Annotated[str, Field(max_length=2000)]


class PartBody(BaseModel):
    """A part of a mixed query: exactly one of text, image and id."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: _Text | None = None
    image: str | None = Field(None, description="A file, base64.")
    id: _Id | None = None
    weight: float = Field(1.0, description="Below 0 for less of it.")


class SearchBody(BaseModel):
    """A search: for a text, an image, what is like an item, or a weighted mix of these."""

    model_config = ConfigDict(extra="forbid", strict=True)

    query: _Text | None = None
    image: str | None = Field(None, description="A file, base64.")
    id: _Id | None = Field(None, description="Items like this one.")
    queries: list[PartBody] | None = Field(None, min_length=1, max_length=MOST_PARTS)
    k: int = Field(20, ge=1, le=_MOST_K, description="Hits.")
    offset: int = Field(0, ge=0, le=MOST_HITS, description="Of the first hit.")
    filter: dict[str, Any] = Field(
        default_factory=dict,
        max_length=50,
        description="By item column: a value, a list of values, or a range of gte, gt, lte, lt.",
    )
    rerank: int | None = Field(
        None,
        ge=0,
        le=MOST_HITS,
        description="How many of the first hits the reranker scores; by default as released.",
    )
    explain: bool = Field(False, description="Also tell the cosine of each hit to each part.")
    session: str | None = Field(
        None, max_length=100, pattern="^[A-Za-z0-9_-]+$", description="Instead of the cookie's."
    )
    language: str = Field("", max_length=35, pattern="^[A-Za-z0-9-]*$", description="Of the query.")

    def to_request(self, gateway: Gateway, upload: bytes | None = None) -> SearchRequest:
        """Return the search that is asked for.

        Args:
            gateway: whose limits hold.
            upload: an image that came as a file.

        Raises:
            ServingError: nothing to search for, or several things; an image that is none.
        """
        named = {"text": self.query, "image": self.image, "id": self.id}
        given = [
            PartBody.model_validate({kind: value})
            for kind, value in named.items()
            if value is not None
        ]
        count = len(given) + (self.queries is not None) + (upload is not None)
        if count != 1:
            raise ServingError(
                "A search has one of query, image, id and queries; give several parts as queries. "
                f"Received: {count} of them."
            )
        limits = (gateway.settings.upload_bytes, gateway.settings.upload_pixels)
        parts = [
            QueryPart(
                text=part.text,
                image=None
                if part.image is None
                else checked_image(decode_base64(part.image), *limits),
                id=part.id,
                weight=part.weight,
            )
            for part in self.queries or given
        ]
        if upload is not None:
            parts = [QueryPart(image=checked_image(upload, *limits))]
        return SearchRequest(
            parts,
            k=self.k,
            offset=self.offset,
            filter=self.filter,
            rerank=self.rerank,
            explain=self.explain,
        )


class HitBody(BaseModel):
    """One result."""

    id: str
    rank: int
    score: float = Field(description="Cosine to the query.")
    rerank_score: float | None
    item: dict[str, Any] = Field(description="The item's columns.")
    image: str
    thumbnail: str
    cosines: list[float] | None = Field(None, description="To each part, with explain.")


class AnswerBody(BaseModel):
    """What a search found."""

    hits: list[HitBody]
    selected: int = Field(description="Items that the filter leaves.")
    release: int
    ranking: str = Field(description="Whose order: tower or reranker.")
    note: str = Field(description="Why it is not the order that was asked for; empty if it is.")
    cached: bool
    token: str | None = Field(description="To send back with clicks on this answer.")
    milliseconds: dict[str, float]


class EventBody(BaseModel):
    """A click on a result page."""

    model_config = ConfigDict(extra="forbid", strict=True)

    token: str = Field(max_length=100_000)
    id: _Id


class ErrorBody(BaseModel):
    """Why there is no answer: `{"error": {"code": …, "message": …}}`."""

    error: dict[str, str]


def error_answers(descriptions: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI is told of a route's errors, by status."""
    return {
        status: {"model": ErrorBody, "description": description}
        for status, description in descriptions.items()
    }


def answer_json(given: GivenAnswer, offset: int) -> dict[str, Any]:
    """Return an `AnswerBody`.

    Args:
        given: an answer.
        offset: of its first hit.
    """
    answer = given.answer
    hits = []
    for rank, place in enumerate(given.places, offset + 1):
        hit = answer.hits[place]
        shown: dict[str, Any] = {
            "id": hit.id,
            "rank": rank,
            "score": round(hit.score, 6),
            "rerank_score": None if hit.rerank_score is None else round(hit.rerank_score, 6),
            "item": hit.item,
            **addresses(hit.id, answer.hits.release),
        }
        if answer.cosines is not None:
            shown["cosines"] = [round(float(value), 6) for value in answer.cosines[place]]
        hits.append(shown)
    return {
        "hits": hits,
        "selected": answer.selected,
        "release": answer.hits.release,
        "ranking": answer.hits.ranking,
        "note": answer.hits.note,
        "cached": given.cached,
        "token": given.token,
        "milliseconds": given.milliseconds,
    }


def item_json(gateway: Gateway, item: str) -> dict[str, Any] | None:
    """Return what is known of an item, and what people found it by; None if there is none."""
    active = gateway.service.active
    row = active.index.items.row_of(item)
    if row is None:
        return None
    return {
        "id": item,
        "item": active.index.items.values(row),
        "queries": active.index.queries.of_image(item),
        "release": active.release.version,
        **addresses(item, active.release.version),
    }


def addresses(item: str, release: int) -> Mapping[str, str]:
    """Return where the pictures of an item are; those of another release are others."""
    name = quote(item, safe="")
    return {
        "image": f"/images/{name}?release={release}",
        "thumbnail": f"/thumbnails/{name}?release={release}",
    }
