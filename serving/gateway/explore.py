"""Exploration: neighbours on a result page change places now and then.

What position alone does to clicks shows only where the same image is seen at several positions
(intervention harvesting; Agarwal et al., WSDM 2019). FairPairs (Radlinski & Joachims, AAAI 2006)
swaps neighbours, which costs the reader next to nothing.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def swap_neighbours(hits: Sequence[T], share: float, draw: random.Random) -> list[T]:
    """Return the hits with each pair of neighbours swapped with a probability.

    Pairs are (1, 2), (3, 4), … or, as often, (2, 3), (4, 5), …, so that every position meets both
    of its neighbours.

    Args:
        hits: in the order of the ranking.
        share: probability of each pair.
        draw: random numbers.
    """
    shown = list(hits)
    if share <= 0:
        return shown
    for place in range(draw.randrange(2), len(shown) - 1, 2):
        if draw.random() < share:
            shown[place], shown[place + 1] = shown[place + 1], shown[place]
    return shown
