"""From record files to batches: the trainer's input pipeline."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import tensorflow as tf

from vl_models.batch import Batch
from vl_models.errors import UserError
from vl_models.input.config import SourceSpec
from vl_models.input.draws import Scan, Selection, scan_records, select_function
from vl_models.input.examples import rows_function
from vl_models.input.records import (
    START,
    InputPosition,
    Shuffle,
    find_shards,
    ordered_batches,
)
from vl_models.input.sampling import text_seeds
from vl_models.input.untuned import processors, untuned

# string [N] -> {"token_ids": int32 [N, L], "text_mask": bool [N, L]}; a graph function.
TextFunction = Callable[[tf.Tensor], Mapping[str, tf.Tensor]]
# What a TextFunction makes and seeds int32 [N, 2] of the texts to the same keys, changed at random.
TokenFunction = Callable[[Mapping[str, tf.Tensor], tf.Tensor], Mapping[str, tf.Tensor]]
# float32 [N] click weights, as stored, to the `query_weight` of the batch; a graph function.
WeightFunction = Callable[[tf.Tensor], tf.Tensor]


@dataclass(frozen=True)
class Feed:
    """What the trainer tells every source: how much, in which order, and for which worker.

    In a batch of several sources, ``batch_size`` counts this source's rows, ``part`` is their
    share of the batch, and ``rows`` is the range of them that this worker decodes.
    """

    batch_size: int  # of the whole step, over all replicas and workers
    texts_per_image: int = 1
    seed: int = 0
    source_id: int = 0
    shuffle_buffer: int = 8192
    worker: int = 0
    workers: int = 1
    part: float = 1.0
    rows: tuple[int, int] | None = None  # the worker's even share by default

    def own_rows(self) -> slice:
        """Return the rows that this worker decodes.

        Raises:
            UserError: the workers cannot share the batch evenly.
        """
        if self.rows is not None:
            return slice(*self.rows)
        if self.batch_size % self.workers:
            raise UserError(
                f"The global batch must divide evenly over {self.workers} workers. "
                f"Received: batch_size={self.batch_size}."
            )
        share = self.batch_size // self.workers
        return slice(self.worker * share, (self.worker + 1) * share)


class Source(Protocol):
    """A stream of batches that can be entered at any position."""

    name: str
    weight: float

    def open(self, feed: Feed, position: InputPosition) -> Iterator[tuple[Batch, InputPosition]]:
        """Batches (this worker's slice of each) with the position after each, without end."""
        ...

    def steps_per_epoch(self, batch_size: int) -> int:
        """Full global batches in one pass."""
        ...


class RecordSource:
    """Batches from ClickExampleGen's record files.

    Args:
        spec: what the rows hold; its source has the name, for the mixer, the checkpoint and
            messages, and the share of the steps that the mixer gives it, relative to the others.
        patterns: file patterns of the training split.
        text_fn: tokenises a batch of drawn texts: string [N] to token_ids int32 [N, L] and
            text_mask bool [N, L]. Runs inside the input pipeline, so only graph operations.
            None if the source has no text.
        weight_fn: rescales the click weights of the drawn texts; unchanged without it. Texts of
            labels have no clicks: they weigh 1, what `weight_fn` is to make the mean of queries.
        token_fn: changes tokens at random, see `vl_models.text.subword_dropout`.

    Raises:
        UserError: no file matches, or text is asked for without ``text_fn``.
    """

    def __init__(
        self,
        spec: SourceSpec,
        patterns: Sequence[str],
        text_fn: TextFunction | None = None,
        weight_fn: WeightFunction | None = None,
        token_fn: TokenFunction | None = None,
    ) -> None:
        self.name = spec.source.name
        self.weight = spec.source.share
        if "token_ids" in spec.inputs and text_fn is None:
            raise UserError(f"Source '{self.name}' holds texts, so it needs a tokeniser (text_fn).")
        self._shards = find_shards(patterns)
        self._spec = spec
        self._text_fn = text_fn
        self._weight_fn = weight_fn
        self._token_fn = token_fn
        self._scan: Scan | None = None

    @property
    def has_classes(self) -> bool:
        """Whether batches hold ``label``."""
        return bool(self._spec.facts.data.classes)

    def open(self, feed: Feed, position: InputPosition) -> Iterator[tuple[Batch, InputPosition]]:
        """Batches with the position after each, without end, from ``position`` on.

        Raises:
            UserError: an epoch shorter than one batch; a record that cannot be used.
        """
        selection = Selection.of(self._spec)
        if _needs_sums(self._spec, feed):
            scan = self._whole_scan()
        else:
            scan = self._scan or scan_records(self._shards, selection, at_most=feed.batch_size)
        if scan.records < feed.batch_size:
            labelled = " with a label text" if selection.labelled else ""
            raise UserError(
                f"Source '{self.name}' has {scan.records} records{labelled}, fewer than one global "
                f"batch. Received: batch_size={feed.batch_size}. Use a smaller batch or more data."
            )
        dataset = make_dataset(
            self._shards,
            self._spec,
            feed,
            self._text_fn,
            position,
            self._weight_fn,
            scan,
            self._token_fn,
        )
        return self._iterate(dataset)

    def steps_per_epoch(self, batch_size: int) -> int:
        """Full global batches in one pass; reads the files once.

        With ``image_draw_power`` the draws of an epoch vary by chance; this is their mean.
        """
        return self._whole_scan().records // batch_size

    def _whole_scan(self) -> Scan:
        if self._scan is None:
            self._scan = scan_records(self._shards, Selection.of(self._spec))
        return self._scan

    def _iterate(self, dataset: tf.data.Dataset) -> Iterator[tuple[Batch, InputPosition]]:
        try:
            for batch in dataset:
                position = batch.pop("position").numpy().tolist()
                yield batch, InputPosition(*position)
        except (tf.errors.InvalidArgumentError, tf.errors.DataLossError) as error:
            files = ", ".join(self._shards[:3]) + (" …" if len(self._shards) > 3 else "")
            raise UserError(
                f"Source '{self.name}' ({files}) has a record that cannot be used: {error.message}"
            ) from error


# Nothing here is Python control flow over tensors, and to look for some takes seconds.
@tf.autograph.experimental.do_not_convert
def make_dataset(
    shards: Sequence[str],
    spec: SourceSpec,
    feed: Feed,
    text_fn: TextFunction | None = None,
    position: InputPosition = START,
    weight_fn: WeightFunction | None = None,
    scan: Scan | None = None,
    token_fn: TokenFunction | None = None,
) -> tf.data.Dataset:
    """Return the input pipeline of one source: an infinite dataset of batches.

    The global batch is cut from the record stream first, then each worker decodes its
    contiguous slice: the same examples form a step however many replicas share it. The
    remainder of an epoch that fills no batch is dropped.

    Args:
        shards: paths of the record files, in a stable order.
        spec: what the rows hold.
        feed: batch size, texts per image, seed, worker.
        text_fn: see `RecordSource`.
        position: where to start.
        weight_fn: see `RecordSource`.
        scan: of all records, if known; else the files are read for it where it is needed.
        token_fn: see `RecordSource`.

    Returns:
        Dataset of the batch of `vl_models.batch`, plus "position" int64 [3]: where the
        next batch starts.

    Raises:
        UserError: the workers cannot share the batch evenly.
    """
    own = feed.own_rows()
    selection = Selection.of(spec)
    offset = math.log(feed.part)
    if _needs_sums(spec, feed):
        scan = scan or scan_records(shards, selection)
        offset -= scan.log_weight
    shards_together, similar = spec.shared.shuffle_shards, spec.source.similar_images
    shuffle = Shuffle(feed.seed, shards_together, feed.shuffle_buffer, similar)
    records = ordered_batches(
        shards,
        feed.batch_size,
        shuffle if spec.shared.shuffle else None,
        position,
        select_function(selection, scan, feed.seed),
    )
    if own.start == own.stop:
        # Another worker decodes all rows; this one keeps the position in step.
        return _as_written(records.map(lambda items: {"position": items["position"]}))
    to_rows = rows_function(spec, feed.seed, feed.source_id, feed.texts_per_image, offset)

    def to_batch(items: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        batch = to_rows(items["record"][own], items["row"][own], items["epoch"])
        if weight_fn is not None and spec.source.texts == "queries" and "query_weight" in batch:
            batch["query_weight"] = weight_fn(batch["query_weight"])
        texts = batch.pop("texts", None)
        if texts is not None and text_fn is not None:
            tokens = text_fn(texts)
            if token_fn is not None:
                tokens = token_fn(tokens, text_seeds(batch["seed"], feed.texts_per_image))
            batch |= tokens
        return {**batch, "position": items["position"]}

    # A batch is made by one core: images side by side within it cost more to coordinate.
    batches = records.map(to_batch, num_parallel_calls=processors(), deterministic=True)
    return _as_written(batches.prefetch(2))


def _needs_sums(spec: SourceSpec, feed: Feed) -> bool:
    """Whether draws or `image_log_q` depend on sums over all records: a pass over the files.

    Where every image of a batch is equally likely, `image_log_q` may be off by a constant: a
    softmax over images does not see it.
    """
    power = spec.source.image_draw_power
    return power is not None and (power > 0.0 or feed.part < 1.0)


def _as_written(batches: tf.data.Dataset) -> tf.data.Dataset:
    options: Any = tf.data.Options()
    # Batches are sharded here, by slices; TensorFlow must not do it again.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    options.deterministic = True
    return untuned(batches).with_options(options)
