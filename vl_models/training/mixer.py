"""Which source feeds which step."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from vl_models.errors import UserError
from vl_models.models.base import Batch
from vl_models.training.input import Feed, Source
from vl_models.training.records import InputPosition

_SOURCE_STREAM = 3


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


class Mixer:
    """Draws one source per global step and keeps every source's position.

    Args:
      sources: in a fixed order; the index is `source_id` in the batch.
      feed: batch size, seed and worker; each source gets its own seed and id from it.

    Raises:
      UserError: no source, or two of the same name.
    """

    def __init__(self, sources: Sequence[Source], feed: Feed) -> None:
        names = [source.name for source in sources]
        if not names or len(set(names)) != len(names):
            raise UserError(f"Sources need different names, at least one. Received: {names}.")
        self._sources = {source.name: source for source in sources}
        self._feed = feed
        self._positions = {name: InputPosition() for name in names}
        self._open: dict[str, Iterator[tuple[Batch, InputPosition]]] = {}

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
        """Raise UserError if one of the names is no source."""
        for name in names:
            if name not in self._sources:
                raise UserError(
                    f"No source is called '{name}'. Sources: {', '.join(self._sources)}."
                )

    def batch(self, step: int, names: Sequence[str] = ()) -> Batch:
        """This worker's part of the next batch of the source that ``step`` draws.

        Args:
          step: global step (with accumulation: all its batches come from one source).
          names: sources to draw from; all by default.
        """
        candidates = [self._sources[name] for name in (names or self._sources)]
        weights = [source.weight for source in candidates]
        source = candidates[choose_source(self._feed.seed, step, weights)]
        if source.name not in self._open:
            source_id = list(self._sources).index(source.name)
            # Sources over the same files must not repeat each other's draws.
            seed = (self._feed.seed + 7919 * source_id) % 2**31
            feed = dataclasses.replace(self._feed, source_id=source_id, seed=seed)
            self._open[source.name] = source.open(feed, self._positions[source.name])
        batch, self._positions[source.name] = next(self._open[source.name])
        return batch

    def steps_per_epoch(self, names: Sequence[str] = ()) -> int:
        """Full batches in one pass over the named sources together."""
        return sum(
            self._sources[name].steps_per_epoch(self._feed.batch_size)
            for name in (names or self._sources)
        )
