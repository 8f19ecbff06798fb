"""Filters that were asked for lately, so that pages of one search select their items once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np

from serving.current_release import ActiveRelease
from serving.filters import canonical, selected

_KEPT = 32


class MaskCache:
    """Which items fit a filter, by release. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._masks: OrderedDict[tuple[int, str], tuple[np.ndarray, int]] = OrderedDict()

    def get(self, active: ActiveRelease, conditions: Mapping[str, Any]) -> tuple[np.ndarray, int]:
        """Return the mask, bool [N], and how many items it leaves.

        Raises:
            ServingError: see `serving.filters.selected`.
        """
        key = (active.release.version, canonical(conditions))
        with self._lock:
            if key in self._masks:
                self._masks.move_to_end(key)
                return self._masks[key]
        mask = selected(active.index.items, conditions)
        found = (mask, int(np.count_nonzero(mask)))
        with self._lock:
            self._masks[key] = found
            while len(self._masks) > _KEPT:
                self._masks.popitem(last=False)
        return found
