"""The click log of one process."""

from __future__ import annotations

import datetime
import logging
import re
import threading
import time
from collections import OrderedDict

from serving.errors import ServingError
from serving.gateway.click_log.data_folder import prepare_data_folder
from serving.gateway.click_log.lines import clicked_line, shown_line
from serving.gateway.click_log.privacy import delete_old_spans, forget_session
from serving.gateway.click_log.segments import Segments, recover
from serving.gateway.impressions import Impression
from serving.gateway.settings import ClickLogSettings

_SECONDS_BETWEEN_CLOSINGS = 20.0

_logger = logging.getLogger(__name__)


class ClickLog:
    """Writes impressions and clicks. Safe to share between threads.

    Args:
        settings: where to, and what is left out.
        images: where the index's images are.
        click_seconds: how long clicks on an impression are taken.

    Raises:
        ServingError: a folder that cannot be logged into.
    """

    def __init__(self, settings: ClickLogSettings, images: str | None, click_seconds: int):
        self._settings = settings
        self._click_seconds = click_seconds
        self._without = [re.compile(pattern, re.IGNORECASE) for pattern in settings.without]
        prepare_data_folder(settings.folder, images, measured=settings.explore > 0)
        self._segments = Segments(settings.folder, grace=click_seconds)
        if closed := recover(settings.folder):
            _logger.info(
                "%s: the events of %d ended processes are closed.", settings.folder, closed
            )
        self._clicked: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._closer = threading.Thread(target=self._close_hours, name="close-log", daemon=True)
        self._closer.start()

    @property
    def explore(self) -> float:
        """Share of the pairs of neighbours that change places."""
        return self._settings.explore

    def records(self, query: str) -> bool:
        """Whether searches for a query are recorded."""
        return not any(pattern.search(query) for pattern in self._without)

    def shown(self, impression: Impression) -> None:
        """Record a result page; when this returns, it is written.

        Raises:
            DiskError: it cannot be written.
        """
        self._segments.append(impression.time, shown_line(impression))

    def clicked(self, impression: Impression, item: str) -> bool:
        """Record a click; when this returns, it is written.

        Returns:
            Whether it is the first on that item of that page; others are not counted.

        Raises:
            ServingError: the item was not on the page.
            DiskError: it cannot be written.
        """
        if impression.position(item) is None:
            raise ServingError(f"{item[:200]!r} was not on that result page.")
        now = time.time()
        with self._lock:
            while self._clicked and next(iter(self._clicked.values())) < now - self._click_seconds:
                self._clicked.popitem(last=False)
            if (impression.key, item) in self._clicked:
                return False
            self._clicked[impression.key, item] = now
        try:
            # To the hour of the impression, where its row is still open.
            self._segments.append(impression.time, clicked_line(impression, item, now))
        except ServingError:
            with self._lock:
                self._clicked.pop((impression.key, item), None)
            raise
        return True

    def forget(self, session: str) -> int:
        """Delete what is logged of a session; returns how many closed rows are gone."""
        return forget_session(self._settings.folder, session)

    def close(self) -> None:
        """Turn what is open into rows of the log."""
        self._closed.set()
        self._closer.join()
        self._segments.close()

    def _close_hours(self) -> None:
        while not self._closed.wait(_SECONDS_BETWEEN_CLOSINGS):
            try:
                self._segments.close_due(time.time())
                recover(self._settings.folder)
                if self._settings.keep_days is not None:
                    today = datetime.datetime.now(datetime.UTC).date()
                    delete_old_spans(self._settings.folder, self._settings.keep_days, today)
            except ServingError as error:
                _logger.warning("The click log stays open for now: %s", error)
