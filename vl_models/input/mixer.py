"""Which sources feed which step.

Sampling is "debiased" where every batch is of one source, so that the negatives of a row are of
its own domain and no model can get ahead by telling the sources apart (Saito et al. 2023,
"Prefix Conditioning Unifies Language and Label Supervision", section 3.3), "round_robin" where the
same sources take turns instead of being drawn, and "mixed" where every batch holds rows of all.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from vl_models.batch import Batch
from vl_models.errors import UserError
from vl_models.input.config import Sampling
from vl_models.input.records import InputPosition
from vl_models.input.source import Feed, Source

_SOURCE_STREAM = 3
_TURNS = 1000


def choose_source(seed: int, step: int, weights: Sequence[float]) -> int:
    """Index of the source of one global step: a pure function, so all replicas agree.

    Args:
        seed: seed of the run.
        step: global step.
        weights: non-negative, not all zero.

    Returns:
        An index, drawn with probability proportional to its weight.
    """
    shares = np.asarray(weights, np.float64)
    draw = np.random.default_rng([seed, _SOURCE_STREAM, step]).random()
    return int(np.searchsorted(np.cumsum(shares) / shares.sum(), draw, side="right"))


def source_in_turn(step: int, weights: Sequence[float]) -> int:
    """Index of the source of one global step where sources take turns: a pure function.

    With equal weights one after the other; else each step takes the source that is furthest behind
    its share of the steps so far, of equal ones the first (smooth weighted round robin).

    Args:
        step: global step.
        weights: positive.
    """
    return _turns(tuple(weights), step // _TURNS)[step % _TURNS]


@functools.cache
def _turns(weights: tuple[float, ...], part: int) -> list[int]:
    """Sources of the steps of a part, `_TURNS` steps long, from the counts of those before it."""
    shares = np.asarray(weights, np.float64) / np.sum(weights)
    counts = np.zeros(len(shares))
    for before in range(part):
        counts += np.bincount(_turns(weights, before), minlength=len(shares))
    chosen = []
    for step in range(part * _TURNS, (part + 1) * _TURNS):
        # Rounded: sources that are equally far behind must not be told apart by the last bit.
        source = int(np.argmax(np.round(shares * (step + 1) - counts, 9)))
        counts[source] += 1
        chosen.append(source)
    return chosen


def rows_by_share(rows: int, shares: Sequence[float]) -> list[int]:
    """Divide the rows of a batch by shares; what is left over goes to the largest remainders.

    Args:
        rows: of the batch.
        shares: positive, of any sum.

    Returns:
        Whole numbers that sum to ``rows``; the first of equal remainders comes first.
    """
    quotas = np.asarray(shares, np.float64) * rows / np.sum(shares)
    whole = np.floor(quotas).astype(int)
    order = np.argsort(whole - quotas, kind="stable")
    whole[order[: rows - whole.sum()]] += 1
    return whole.tolist()


class Mixer:
    """Makes the batch of each global step and keeps every source's position.

    Args:
        sources: in a fixed order; the index is `source_id` in the batch.
        feed: batch size, seed and worker; each source gets its own seed and id from it.
        sampling: whether a batch is of one source, drawn by weight, or of all of them, rows by
            weight (in the order of the sources, before workers take their slices).

    Raises:
        UserError: no source, or two of the same name.
    """

    def __init__(
        self, sources: Sequence[Source], feed: Feed, sampling: Sampling = "debiased"
    ) -> None:
        names = [source.name for source in sources]
        if not names or len(set(names)) != len(names):
            raise UserError(f"Sources need different names, at least one. Received: {names}.")
        self._sources = {source.name: source for source in sources}
        self._feed = feed
        self._sampling = sampling
        self._positions = {name: InputPosition() for name in names}
        self._open: dict[str, tuple[Feed, Iterator[tuple[Batch, InputPosition]]]] = {}

    @property
    def positions(self) -> dict[str, InputPosition]:
        """Where each source's next batch starts."""
        return dict(self._positions)

    def restore(self, positions: Mapping[str, Sequence[int]]) -> None:
        """Continue from positions of a checkpoint; a source that is new starts at its start.

        Raises:
            UserError: the checkpoint has a source that this run lacks.
        """
        unknown = sorted(set(positions) - set(self._positions))
        if unknown:
            raise UserError(
                f"The checkpoint was made with sources that this run lacks: {', '.join(unknown)}. "
                "Add them, or start a new run with a warm start."
            )
        self._open.clear()
        self._positions |= {name: InputPosition(*place) for name, place in positions.items()}

    def check_names(self, names: Sequence[str]) -> None:
        """Raise UserError if one of the names is no source, or would get no row of a batch."""
        for name in names:
            if name not in self._sources:
                raise UserError(
                    f"No source is called '{name}'. Sources: {', '.join(self._sources)}."
                )
        if self._sampling == "mixed":
            self._parts(names)

    def batch(self, step: int, names: Sequence[str] = ()) -> Batch:
        """This worker's part of the next global batch.

        Args:
            step: global step; debiased, it draws the source (with accumulation all batches of a
                step come from one source).
            names: sources to draw from; all by default. Mixed, a source whose number of rows
                differs from that of the step before is opened anew, which fills its shuffle buffer
                again.
        """
        if self._sampling == "mixed":
            return self._mixed_batch(names)
        candidates = [self._sources[name] for name in (names or self._sources)]
        weights = [source.weight for source in candidates]
        turn = (
            source_in_turn(step, weights)
            if self._sampling == "round_robin"
            else choose_source(self._feed.seed, step, weights)
        )
        source = candidates[turn]
        return self._next(source, self._feed)

    def steps_per_epoch(self, names: Sequence[str] = ()) -> int:
        """Full batches in one pass over the named sources together."""
        sources = [self._sources[name] for name in (names or self._sources)]
        size = self._feed.batch_size
        if self._sampling == "mixed":
            return sum(source.steps_per_epoch(1) for source in sources) // size
        return sum(source.steps_per_epoch(size) for source in sources)

    def _next(self, source: Source, feed: Feed) -> Batch:
        """Return the source's next batch under a feed."""
        opened = self._open.get(source.name)
        if opened is None or opened[0] != feed:
            source_id = list(self._sources).index(source.name)
            # Sources over the same files must not repeat each other's draws.
            seed = (feed.seed + 7919 * source_id) % 2**31
            own = dataclasses.replace(feed, source_id=source_id, seed=seed)
            opened = feed, source.open(own, self._positions[source.name])
            self._open[source.name] = opened
        batch, self._positions[source.name] = next(opened[1])
        return batch

    def _mixed_batch(self, names: Sequence[str]) -> Batch:
        """This worker's contiguous slice of the concatenated parts of all sources."""
        own = self._feed.own_rows()
        parts: dict[str, Batch] = {}
        first = 0
        for source, rows in self._parts(names):
            start, stop = (min(max(row - first, 0), rows) for row in (own.start, own.stop))
            feed = dataclasses.replace(
                self._feed,
                batch_size=rows,
                part=rows / self._feed.batch_size,
                rows=(start, stop),
            )
            batch = self._next(source, feed)
            if stop > start:
                parts[source.name] = batch
            first += rows
        return _concatenate(parts)

    def _parts(self, names: Sequence[str]) -> list[tuple[Source, int]]:
        """Every named source with its rows of a global batch."""
        sources = [self._sources[name] for name in (names or self._sources)]
        size = self._feed.batch_size
        parts = list(
            zip(sources, rows_by_share(size, [source.weight for source in sources]), strict=True)
        )
        for source, rows in parts:
            if rows == 0:
                total = sum(other.weight for other in sources)
                raise UserError(
                    f"Source '{source.name}' gets no row of a mixed batch of {size}: its share is "
                    f"{source.weight / total:.2g}. Give it a larger share, use a larger batch, or "
                    "sampling: debiased."
                )
        return parts


def _concatenate(parts: Mapping[str, Batch]) -> Batch:
    """Rows of all parts, key by key.

    Raises:
        UserError: naming two sources and the key in which their rows differ.
    """
    (first, expected), *others = parts.items()
    for name, batch in others:
        for key in sorted(expected.keys() | batch.keys()):
            one, two = (_row_shape(source.get(key)) for source in (expected, batch))
            if one != two:
                raise UserError(
                    f"Sources '{first}' and '{name}' do not fit into one batch: '{key}' is {one} "
                    f"in one and {two} in the other. Give them the same input, or use sampling: "
                    "debiased."
                )
    return {key: tf.concat([part[key] for part in parts.values()], axis=0) for key in expected}


def _row_shape(values: tf.Tensor | None) -> str:
    """Return what one row of a key holds, in words."""
    return "absent" if values is None else f"{values.dtype.name} {list(values.shape[1:])}"
