"""Classes of a single score: the thresholds between them that are right most often."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class OrderedThresholds:
    """Tells classes apart by one number: each is an interval of it.

    The order of the classes is that of their mean values; the thresholds maximise the number of
    given values that are classified rightly, exactly, by dynamic programming.

    Args:
        values: float [n].
        classes: of each value.
    """

    def __init__(self, values: np.ndarray, classes: Sequence[str]):
        names = np.array(classes)
        self.classes = sorted(set(classes), key=lambda name: (values[names == name].mean(), name))
        order = np.argsort(values, kind="stable")
        ascending = values[order]
        # Correct ones among the first i, if the last of them is of the class.
        best = np.zeros(len(values) + 1)
        cuts = []
        possible = np.concatenate([[True], ascending[1:] > ascending[:-1], [True]])
        for place, name in enumerate(self.classes):
            right = np.concatenate([[0.0], np.cumsum(names[order] == name)])
            if place == 0:
                best = right
                continue
            gain = np.where(possible, best - right, -np.inf)
            start = np.maximum.accumulate(gain)
            at = np.maximum.accumulate(np.where(gain == start, np.arange(len(gain)), 0))
            cuts.append(at)
            best = start + right
        self.thresholds = self._trace(cuts, ascending)

    def classify(self, values: np.ndarray) -> list[str]:
        """Return the class of each value."""
        return [self.classes[place] for place in np.searchsorted(self.thresholds, values, "right")]

    @staticmethod
    def _trace(cuts: Sequence[np.ndarray], ascending: np.ndarray) -> list[float]:
        """Return the bound below each class but the first one, halfway between two values."""
        edges = np.concatenate([[-np.inf], ascending, [np.inf]])
        end, found = len(ascending), []
        for at in reversed(cuts):
            end = int(at[end])
            found.append(float((edges[end] + edges[end + 1]) / 2))
        return found[::-1]
