"""How often an epoch of a source draws each of its records: not at all, once, or repeatedly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

from vl_models import features as f
from vl_models.errors import UserError
from vl_models.input.config import SourceSpec
from vl_models.input.records import COPIES, Select, count_records, read_records
from vl_models.input.sampling import REPEAT, round_at_random, row_seed
from vl_models.row_random import stream_seed

_SCANNED = 256  # records parsed together


@dataclass(frozen=True)
class Selection:
    """Which records belong to a source, and how their draws depend on their clicks.

    ``labelled`` leaves out records without a label text. A record is drawn in proportion to
    its image's clicks ** ``power``; an image without clicks counts as one with one.
    """

    labelled: bool = False
    power: float = 0.0

    @classmethod
    def of(cls, spec: SourceSpec) -> Selection:
        """Return what one source selects."""
        return cls(spec.source.texts == "labels", spec.source.image_draw_power or 0.0)

    @property
    def trivial(self) -> bool:
        """Whether an epoch is every record once."""
        return not self.labelled and self.power == 0.0

    def weights(self, records: tf.Tensor) -> tf.Tensor:
        """Weights of serialised records string [B]: float64 [B], 0 for what is left out."""
        specification: dict[str, object] = {
            f.IMAGE_CLICKS_TOTAL: tf.io.FixedLenFeature([], tf.int64, 0)
        }
        if self.labelled:
            specification[f.LABEL_TEXT] = tf.io.RaggedFeature(tf.string)
        parsed = tf.io.parse_example(records, specification)
        clicks = tf.cast(tf.maximum(parsed[f.IMAGE_CLICKS_TOTAL], 1), tf.float64)
        weights = clicks**self.power
        if self.labelled:
            has_label = parsed[f.LABEL_TEXT].row_lengths() > 0
            weights = tf.where(has_label, weights, tf.zeros_like(weights))
        return weights


@dataclass(frozen=True)
class Scan:
    """What one pass over the files found.

    Attributes:
        records: how many belong to the source; also the expected draws of an epoch.
        weight: sum of their weights.
        largest: the largest weight.
    """

    records: int
    weight: float
    largest: float

    @property
    def draws_per_weight(self) -> float:
        """Expected draws per epoch of a record of weight 1; their mean over records is 1."""
        return self.records / self.weight

    @property
    def log_weight(self) -> float:
        """log Σ weight: a record's log share of the draws is its log weight less this."""
        return math.log(self.weight)


# As in `input.make_dataset`: no Python control flow over tensors.
@tf.autograph.experimental.do_not_convert
def scan_records(shards: Sequence[str], selection: Selection, at_most: int | None = None) -> Scan:
    """Read the files once; where every record counts alike, without parsing.

    Args:
        shards: paths of the record files.
        selection: of the source.
        at_most: stop when so many records are known to belong to the source.

    Raises:
        UserError: a file that is not a complete TFRecord file.
    """
    if selection.trivial:
        records = count_records(shards, at_most)
        return Scan(records, float(records), 1.0)
    counted, weight, largest = 0, 0.0, 0.0
    weights = read_records(shards).batch(_SCANNED).map(selection.weights)
    try:
        for batch in weights.prefetch(2).as_numpy_iterator():
            counted += int((batch > 0).sum())
            weight += float(batch.sum())
            largest = max(largest, float(batch.max()))
            if at_most is not None and counted >= at_most:
                break
    except tf.errors.DataLossError as error:
        raise UserError(f"A record file is damaged or cut off: {error.message}") from error
    return Scan(counted, weight, largest)


def select_function(selection: Selection, scan: Scan | None, seed: int) -> Select | None:
    """Return the function that `ordered_batches` asks how often it is to take each record.

    The draws of a record are the floor of what is expected, and one more with the probability of
    the rest: by row and epoch, so that a resumed epoch is the same.

    Args:
        selection: of the source.
        scan: of all its files; needed where draws depend on clicks.
        seed: seed of this source in this run.

    Returns:
        None if every record is taken once.

    Raises:
        UserError: one record would be drawn too often to number its copies.
    """
    if selection.trivial:
        return None
    if selection.power == 0.0:
        return lambda records, rows, epoch: tf.cast(selection.weights(records), tf.int64)
    if scan is None:
        raise ValueError("`scan` must be given where draws depend on clicks. Received: scan=None")
    rate = scan.draws_per_weight
    if scan.largest * rate > COPIES - 1:
        raise UserError(
            f"image_draw_power={selection.power:g} draws one image more than {COPIES - 1:,} times "
            "an epoch. Lower it."
        )

    def counts(records: tf.Tensor, rows: tf.Tensor, epoch: tf.Tensor) -> tf.Tensor:
        seeds = stream_seed(row_seed(seed, epoch, rows), REPEAT)
        return round_at_random(selection.weights(records) * rate, seeds)

    return counts
