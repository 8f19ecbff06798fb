"""What a search service does, whoever asks: search, suggest, show, count clicks. No HTTP."""

from __future__ import annotations

import dataclasses
import logging
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serving.client import PredictClient
from serving.errors import DiskError
from serving.filters import selected
from serving.gateway.answer_cache import AnswerCache, key_of
from serving.gateway.click_log.writer import ClickLog
from serving.gateway.explore import swap_neighbours
from serving.gateway.impressions import Impression, ImpressionTokens
from serving.gateway.metrics import GatewayMetrics
from serving.gateway.pictures import ItemPicture, Pictures
from serving.gateway.settings import GatewaySettings
from serving.image_store import ImageStore
from serving.index import Index
from serving.rerank_settings import RERANKER
from serving.search import SearchAnswer, SearchRequest, SearchService, Stopwatch

_POLL_SECONDS = 0.25

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class GivenAnswer:
    """An answer as it is shown.

    Attributes:
        answer: what was found.
        places: row of `answer.hits` at each place, exploration included.
        cached: it was kept from an earlier search.
        token: of the impression; None where none is recorded.
        milliseconds: by stage, and in all.
    """

    answer: SearchAnswer
    places: Sequence[int]
    cached: bool
    token: str | None
    milliseconds: Mapping[str, float]


class Gateway:
    """Everything of a search service but its protocol. Safe to share between threads.

    Args:
        release_root: folder with release.json.
        client: of the model server that serves it.
        settings: of the service.

    Raises:
        ServingError: no release that can be searched, or a folder that cannot be logged into.
    """

    def __init__(
        self, release_root: str | Path, client: PredictClient, settings: GatewaySettings
    ) -> None:
        self.settings = settings
        self.metrics = GatewayMetrics()
        self._store = ImageStore(
            settings.image_roots,
            settings.image_hosts,
            private_hosts=settings.private_image_hosts,
        )
        self.service = SearchService(
            release_root,
            client,
            read_images=self._store.servable,
            poll_seconds=_POLL_SECONDS,
        )
        self._pictures = Pictures(self._store)
        self._cache = AnswerCache(settings.cached_answers)
        self._tokens = ImpressionTokens(settings.token_key, settings.impression_seconds)
        self._draw = random.Random()
        self._log: ClickLog | None = None
        if settings.log is not None:
            images = self.service.active.index.source_prefix
            self._log = ClickLog(settings.log, images, settings.impression_seconds)

    @property
    def is_logging(self) -> bool:
        """Whether searches and clicks are recorded."""
        return self._log is not None

    @property
    def release(self) -> int:
        """Version of the release that answers now."""
        return self.service.active.release.version

    @property
    def index(self) -> Index:
        """That of the release that answers now."""
        return self.service.active.index

    def close(self) -> None:
        """Close the log, and follow no more releases."""
        self.service.close()
        if self._log is not None:
            self._log.close()

    def search(
        self, request: SearchRequest, session: str | None = None, language: str = ""
    ) -> GivenAnswer:
        """Answer a search, and record what is shown of searches for a text.

        Args:
            request: a search; without a deadline it gets the service's.
            session: of the client; None records nothing.
            language: of the query, as the client names it.

        Raises:
            ServingError: see `SearchService.answer`.
        """
        clock = Stopwatch()
        if request.deadline is None:
            request = dataclasses.replace(request, deadline=self.settings.rerank_seconds)
        key = key_of(request, self.release)
        found = self._cache.get(key)
        is_cached = found is not None
        self.metrics.cached.labels(str(is_cached).lower()).inc()
        if found is None:
            found = self.service.answer(request)
            self._cache.put(key, found)
            for stage, seconds in found.seconds.items():
                self.metrics.stages.labels(stage).observe(seconds)
            if found.hits.note and found.hits.ranking == "tower":
                self.metrics.fallbacks.inc()
        places: Sequence[int] = range(len(found.hits))
        token = None
        log = self._log if session is not None and found.hits else None
        if log is not None and request.text is not None and log.records(request.text):
            places = swap_neighbours(places, log.explore, self._draw)
            token = self._record(log, request, found, places, session or "", language)
        clock.lap("all")
        stages = {} if is_cached else dict(found.seconds)
        milliseconds = {
            stage: round(1000 * seconds, 2)
            for stage, seconds in {**stages, **clock.seconds}.items()
        }
        return GivenAnswer(found, places, is_cached, token, milliseconds)

    def suggest(self, start: str) -> list[str]:
        """Return queries of the log that begin so, by clicks."""
        return self.index.queries.suggest(start, self.settings.suggestions)

    def click(self, token: str, item: str) -> bool:
        """Record a click on an answer; returns whether it counts.

        Raises:
            BadTokenError: no token of an answer of this service, or one that is too old.
            ServingError: the item was not shown there, or the click cannot be written.
        """
        impression = self._tokens.read(token)
        if self._log is None:
            return False
        counted = self._log.clicked(impression, item)
        self.metrics.events.labels("click" if counted else "repeated").inc()
        return counted

    def forget(self, session: str) -> int:
        """Delete what is recorded of a session; returns how many closed rows are gone."""
        return 0 if self._log is None else self._log.forget(session)

    def thumbnail(self, item: str) -> ItemPicture:
        """Return a small picture of an item.

        Raises:
            ServingError: see `Pictures.thumbnail`.
        """
        active = self.service.active
        return self._pictures.thumbnail(active.index, active.release.version, item)

    def picture(self, item: str) -> ItemPicture:
        """Return the image of an item.

        Raises:
            ServingError: see `Pictures.full`.
        """
        return self._pictures.full(self.index, item)

    def collection(self, conditions: Mapping[str, Any]) -> dict[str, Any]:
        """Describe what is searched: columns, and how many items have each of their values.

        Args:
            conditions: a filter; each column's counts are of the items that fit the others.

        Raises:
            ServingError: a filter that the items cannot be compared with.
        """
        active = self.service.active
        items = active.index.items
        counts: dict[str, dict[str, int]] = items.choices()
        for column in list(counts):
            others = {name: value for name, value in conditions.items() if name != column}
            if others:
                counts[column] = counts[column] | dict.fromkeys(counts[column], 0)
                counts[column] |= items.choices(selected(items, others))[column]
        mask = selected(items, conditions) if conditions else np.ones(len(items), bool)
        return {
            "items": len(items),
            "selected": int(np.count_nonzero(mask)),
            "release": active.release.version,
            "created": active.release.created,
            "reranker": RERANKER in active.release.models,
            "columns": {name: _type_name(str(kind)) for name, kind in items.columns.items()},
            "choices": counts,
            "ranges": {name: list(ends) for name, ends in items.ranges.items()},
            "popular": active.index.queries.popular(self.settings.suggestions),
            "records_clicks": self.is_logging,
        }

    def _record(
        self,
        log: ClickLog,
        request: SearchRequest,
        found: SearchAnswer,
        places: Sequence[int],
        session: str,
        language: str,
    ) -> str | None:
        """Write an impression; returns its token, None if it could not be written."""
        assert request.text is not None
        impression = Impression.of(
            request.text,
            session,
            tuple(found.hits[place].id for place in places),
            release=found.hits.release,
            ranking=found.hits.ranking,
            first=request.offset + 1,
            language=language,
        )
        try:
            log.shown(impression)
        except DiskError as error:  # people go on searching
            self.metrics.events.labels("failed").inc()
            _logger.error("%s", error)
            return None
        self.metrics.events.labels("impression").inc()
        return self._tokens.sign(impression)


def _type_name(kind: str) -> str:
    names = {"string": "text", "int64": "integer", "double": "number", "bool": "boolean"}
    return names.get(kind, "texts")
