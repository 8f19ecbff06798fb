"""Examination propensities by position: given, or estimated from the log.

The position-based model: a click needs examination and attraction, P(click | query, image,
position k) = theta_k * gamma_(query, image). A click at position k then weighs 1 / theta_k
(inverse propensity weighting: Joachims, Swaminathan, Schnabel: Unbiased Learning-to-Rank
with Biased Feedback, WSDM 2017, section 4).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tfx_pipeline.data.config import PropensityConfig
from vl_models.errors import UserError


def given_propensities(config: PropensityConfig) -> np.ndarray:
    """Propensities float64[positions] of a configuration; index 0 is position 1."""
    if config.values:
        return np.array(config.values, np.float64)
    return 1.0 / np.arange(1, config.max_positions + 1, dtype=np.float64) ** config.eta


def click_weights(
    positions: np.ndarray, propensities: np.ndarray | None, clip: float
) -> np.ndarray:
    """Weight of one click at each position: min(1 / theta, clip).

    Args:
        positions: int[n], 1-based; 0 (unknown) weighs 1.
        propensities: theta float64[positions]; positions beyond it take its last value. None
            weighs every click 1.
        clip: the largest weight of one click.

    Returns:
        float64[n].
    """
    if propensities is None:
        return np.ones(len(positions), np.float64)
    index = np.clip(positions, 1, len(propensities)) - 1
    weights = np.minimum(1.0 / np.maximum(propensities[index], 1e-12), clip)
    return np.where(positions > 0, weights, 1.0)


def estimate_propensities(
    pairs: np.ndarray,
    positions: np.ndarray,
    clicks: np.ndarray,
    impressions: np.ndarray,
    *,
    max_positions: int = 50,
    iterations: int = 500,
    tolerance: float = 1e-6,
) -> np.ndarray:
    """Estimate theta by expectation maximisation, relative to position 1.

    Source: Wang, Golbandi, Bendersky, Metzler, Najork: Position Bias Estimation for Unbiased
    Learning to Rank in Personal Search, WSDM 2018, section 4.1, with one attraction
    parameter per (query, image). Only pairs that were shown at two positions or more tell
    anything about theta; the others are left out. Positions without such data take the value
    of the nearest position before them.

    Args:
        pairs: pair keys int64[n]; rows of one pair share the key.
        positions: int[n]; 0 (unknown) and those above `max_positions` are left out.
        clicks: int[n], at most `impressions`.
        impressions: int[n].
        max_positions: how many positions to estimate.
        iterations: at most so many.
        tolerance: stop when no theta moves by more.

    Returns:
        float64[p], p = last position with data; theta[0] = 1; all ones if nothing is known.
    """
    use = (positions >= 1) & (positions <= max_positions) & (impressions > 0)
    keys, pair = np.unique(pairs[use], return_inverse=True)
    place = positions[use].astype(np.int64) - 1
    cells, cell = np.unique(pair * max_positions + place, return_inverse=True)
    positive = np.bincount(cell, np.minimum(clicks, impressions)[use], len(cells))
    shown = np.bincount(cell, impressions[use], len(cells))
    pair, place = cells // max_positions, cells % max_positions

    several = np.bincount(pair, minlength=len(keys)) >= 2
    informative = several[pair] & (np.bincount(pair, positive, len(keys))[pair] > 0)
    if not informative.any():
        return np.ones(1)
    _, pair = np.unique(pair[informative], return_inverse=True)
    place, positive, shown = place[informative], positive[informative], shown[informative]
    size = int(place.max()) + 1
    shown_at = np.bincount(place, shown, size)
    shown_of = np.bincount(pair, shown)
    theta = np.where(shown_at > 0, 0.5, np.nan)
    gamma = np.full(len(shown_of), 0.5)
    for _ in range(iterations):
        click = theta[place] * gamma[pair]
        skipped = (shown - positive) / np.maximum(1.0 - click, 1e-12)
        # E step: a skip was examined, or attractive, with these probabilities.
        examined = positive + skipped * theta[place] * (1.0 - gamma[pair])
        attractive = positive + skipped * gamma[pair] * (1.0 - theta[place])
        # M step.
        with np.errstate(invalid="ignore"):
            updated = np.bincount(place, examined, size) / shown_at
        gamma = np.bincount(pair, attractive) / shown_of
        moved = np.nanmax(np.abs(updated - theta))
        theta = updated
        if moved < tolerance:
            break
    return _relative(theta)


def check_estimable(counters: Mapping[str, int]) -> None:
    """Check that a log can tell anything about examination.

    Args:
        counters: of the run: `rows_with_position`, and `skips_with_position`, the impressions
            without a click among them.

    Raises:
        UserError: no row has a position, or nothing was shown without being clicked.
    """
    remedy = "set `propensity: {mode: given, eta: 1}` or `{mode: none}` in data.yaml."
    if not counters.get("rows_with_position"):
        raise UserError(
            "propensity: estimated needs the column `position`, which no accepted row has. Add "
            f"it, or {remedy}"
        )
    if not counters.get("skips_with_position"):
        raise UserError(
            "propensity: estimated needs impressions without a click, and the log has none at a "
            "position. Add `impressions` to rows with `clicks`, or the rows with clicked = 0; or "
            f"{remedy}"
        )


def _relative(theta: np.ndarray) -> np.ndarray:
    """Fill gaps from the position before and scale so that the first position is 1."""
    known = np.flatnonzero(~np.isnan(theta))
    before = known[np.maximum(np.searchsorted(known, np.arange(len(theta)), "right") - 1, 0)]
    filled = np.maximum(theta[before], 1e-6)
    return np.clip(filled / filled[0], 1e-6, 1.0)
