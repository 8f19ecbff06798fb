"""Serialised tf.Examples, as ClickExampleGen writes them, to the rows of a batch.

Everything but the decoding of images is computed for all rows at once: an operation costs
microseconds to start, and decoding a small image only 300.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pydantic
import tensorflow as tf

from vl_models import features as f
from vl_models.images import decode_and_crop
from vl_models.strict_config import StrictConfig
from vl_models.training.sampling import CROP, TEXT, draw_texts, row_seed, stream_seed

Rows = dict[str, tf.Tensor]
Modality = Literal["image", "image_2", "text", "image_features", "text_features"]

# Fingerprints stay below this, so that -1 can pad.
_KEY_RANGE = 2**62
PADDING_KEY = -1


class InputConfig(StrictConfig):
    """What the rows of one source hold.

    ``image_size`` is the side of the model's input in pixels; ``max_clicked_queries`` 0 leaves
    `clicked_query_keys` out; ``num_labels`` 0 leaves `label` out. ``total_clicks`` is the sum
    of `image/clicks_total` over the images; without it `image_log_q` is off by a constant,
    which a softmax over images does not see. ``augment`` crops at random, to squares of a
    random share ``crop_scale`` of the shorter side if that is given. ``shuffle_shards`` files
    are read side by side and share one shuffle buffer. Texts are drawn by click weight **
    ``text_draw_power``: 1 by weight, 0 evenly.
    """

    modalities: tuple[Modality, ...] = pydantic.Field(default=("image", "text"), min_length=1)
    image_size: int = pydantic.Field(default=224, ge=1)
    text_draw_power: float = pydantic.Field(default=1.0, ge=0)
    max_clicked_queries: int = pydantic.Field(default=16, ge=0)
    num_labels: int = pydantic.Field(default=0, ge=0)
    image_features: int = pydantic.Field(default=0, ge=0)
    text_features: int = pydantic.Field(default=0, ge=0)
    total_clicks: float | None = pydantic.Field(default=None, gt=0)
    augment: bool = True
    crop_scale: tuple[float, float] | None = None
    shuffle: bool = True
    shuffle_shards: int = pydantic.Field(default=4, ge=1)

    @pydantic.model_validator(mode="after")
    def _widths_given(self) -> InputConfig:
        for name in ("image_features", "text_features"):
            if name in self.modalities and getattr(self, name) == 0:
                raise ValueError(f"modality '{name}' needs its width, key '{name}'")
        return self


def rows_function(
    config: InputConfig, seed: int, source_id: int, texts_per_image: int
) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor], Rows]:
    """The function from serialised records to their part of the batch.

    Args:
      config: which modalities, sizes and labels the source has.
      seed: seed of this source in this run.
      source_id: index of the source in the mixer.
      texts_per_image: n, texts drawn per image.

    Returns:
      A graph function of records string [B], rows int64 [B] and epoch int64 scalar to every
      key of the batch; texts are still strings, under the key "texts" [B·n], image-major.
    """
    specification = _specification(config)
    has_text = bool({"text", "text_features"} & set(config.modalities))

    def to_rows(records: tf.Tensor, rows: tf.Tensor, epoch: tf.Tensor) -> Rows:
        parsed = tf.io.parse_example(records, specification)
        seeds = row_seed(seed, epoch, rows)
        batch: Rows = {
            "row": rows,
            "seed": seeds,
            "image_key": _key(parsed[f.IMAGE_ID]),
            "source_id": tf.fill(tf.shape(rows), tf.constant(source_id, tf.int32)),
            "source_type": _source_type(parsed[f.SOURCE_TYPE]),
            "image_log_q": _image_log_q(parsed[f.IMAGE_CLICKS_TOTAL], config.total_clicks),
            **_labels(parsed[f.LABEL_ID], config.num_labels),
        }
        for name, feature in (("image", f.IMAGE_ENCODED), ("image_2", f.IMAGE_2_ENCODED)):
            if name in config.modalities:
                batch[name] = _decode(parsed[feature], config, seeds, rows)
        if "image_features" in config.modalities:
            batch["image_features"] = parsed[f.IMAGE_FEATURES]
        if has_text:
            batch |= _texts(parsed, config, texts_per_image, seeds, rows)
        return batch

    return to_rows


def _specification(config: InputConfig) -> dict[str, object]:
    """How the features that this source needs are parsed; the rest is skipped."""
    specification: dict[str, object] = {
        f.IMAGE_ID: tf.io.FixedLenFeature([], tf.string, ""),
        f.IMAGE_CLICKS_TOTAL: tf.io.FixedLenFeature([], tf.int64, 0),
        f.SOURCE_TYPE: tf.io.FixedLenFeature([], tf.string, f.SOURCE_TYPES[0]),
        f.LABEL_ID: tf.io.RaggedFeature(tf.int64),
    }
    if "image" in config.modalities:
        specification[f.IMAGE_ENCODED] = tf.io.FixedLenFeature([], tf.string, "")
    if "image_2" in config.modalities:
        specification[f.IMAGE_2_ENCODED] = tf.io.FixedLenFeature([], tf.string, "")
    if "image_features" in config.modalities:
        specification[f.IMAGE_FEATURES] = tf.io.FixedLenFeature([config.image_features], tf.float32)
    if {"text", "text_features"} & set(config.modalities):
        specification[f.QUERY_TEXT] = tf.io.RaggedFeature(tf.string)
        specification[f.QUERY_WEIGHT] = tf.io.RaggedFeature(tf.float32)
    if "text_features" in config.modalities:
        specification[f.QUERY_FEATURES] = tf.io.RaggedFeature(tf.float32)
    return specification


def _key(ids: tf.Tensor) -> tf.Tensor:
    """Stable non-negative int64 fingerprints (FarmHash) of strings."""
    return tf.strings.to_hash_bucket_fast(ids, _KEY_RANGE)


def _source_type(names: tf.Tensor) -> tf.Tensor:
    """Indices into `features.SOURCE_TYPES`, int32 [B]."""
    known = tf.constant(f.SOURCE_TYPES)
    return tf.argmax(names[:, tf.newaxis] == known, axis=1, output_type=tf.int32)


def _image_log_q(clicks: tf.Tensor, total: float | None) -> tf.Tensor:
    """Log share of the clicks; an image without clicks counts as one with one."""
    log_clicks = tf.math.log(tf.cast(tf.maximum(clicks, 1), tf.float32))
    return log_clicks if total is None else log_clicks - tf.math.log(tf.constant(total, tf.float32))


def _labels(ids: tf.RaggedTensor, num_labels: int) -> Rows:
    """label_id int32 [B] (the first, -1 = none), and label float32 [B, C] multi-hot if C > 0."""
    padded = tf.pad(ids.to_tensor(-1), [[0, 0], [0, 1]], constant_values=-1)
    batch: Rows = {"label_id": tf.cast(padded[:, 0], tf.int32)}
    if num_labels:
        # one_hot(-1) is all zeros.
        batch["label"] = tf.reduce_max(tf.one_hot(padded, num_labels), axis=1)
    return batch


def _decode(
    encoded: tf.Tensor, config: InputConfig, seeds: tf.Tensor, rows: tf.Tensor
) -> tf.Tensor:
    present = _check(tf.strings.length(encoded) > 0, "A record has no image", rows)
    with tf.control_dependencies([present]):
        encoded = tf.identity(encoded)

    def decode(image: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        return decode_and_crop(
            image[0],
            config.image_size,
            training=config.augment,
            seed=image[1],
            scale=config.crop_scale,
        )

    return tf.map_fn(
        decode,
        (encoded, stream_seed(seeds, CROP)),
        fn_output_signature=tf.TensorSpec([config.image_size, config.image_size, 3], tf.uint8),
        parallel_iterations=1,  # several batches are made side by side instead
    )


def _texts(
    parsed: Rows, config: InputConfig, count: int, seeds: tf.Tensor, rows: tf.Tensor
) -> Rows:
    """Draw texts and everything that belongs to them."""
    lengths = parsed[f.QUERY_TEXT].row_lengths()
    weighted = parsed[f.QUERY_WEIGHT].row_lengths()
    matching = (weighted == 0) | (weighted == lengths)
    checks = [
        _check(lengths > 0, "A record has no text", rows),
        _check(matching, "A record has not as many weights as texts", rows),
    ]
    with tf.control_dependencies(checks):
        lengths = tf.identity(lengths)
        texts = parsed[f.QUERY_TEXT].to_tensor("")  # [B, N]
    # Texts without weights all count alike.
    weights = parsed[f.QUERY_WEIGHT].to_tensor(1.0, shape=tf.shape(texts))
    text_seeds = stream_seed(seeds, TEXT)
    drawn = draw_texts(weights, lengths, count, text_seeds, config.text_draw_power)
    keys = _key(texts)

    def pick(values: tf.Tensor) -> tf.Tensor:
        """[B, N, …] to the drawn ones [B·n, …], image-major."""
        picked = tf.gather(values, drawn, batch_dims=1)
        return tf.reshape(picked, [rows.shape[0] * count, *values.shape[2:]])

    batch: Rows = {"query_key": pick(keys), "query_weight": pick(weights)}
    if "text" in config.modalities:
        batch["texts"] = pick(texts)
    if "text_features" in config.modalities:
        batch["text_features"] = pick(_text_features(parsed, config.text_features, lengths, rows))
    if config.max_clicked_queries:
        clicked = _heaviest(keys, weights, lengths, config.max_clicked_queries)
        batch["clicked_query_keys"] = tf.ensure_shape(clicked, [rows.shape[0], None])
    return batch


def _text_features(parsed: Rows, width: int, lengths: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Features of all texts, float32 [B, N, width]."""
    features = parsed[f.QUERY_FEATURES]
    whole = _check(
        features.row_lengths() == lengths * width,
        f"A record has not {width} features for each text",
        rows,
    )
    with tf.control_dependencies([whole]):
        return tf.reshape(features.to_tensor(), [rows.shape[0], -1, width])


def _heaviest(keys: tf.Tensor, weights: tf.Tensor, lengths: tf.Tensor, count: int) -> tf.Tensor:
    """Keys of the ``count`` heaviest texts, padded with -1, int64 [B, count]."""
    present = tf.sequence_mask(lengths, tf.shape(keys)[1])
    keys = tf.where(present, keys, tf.constant(PADDING_KEY, tf.int64))
    weights = tf.where(present, weights, -float("inf"))
    order = tf.math.top_k(weights, tf.minimum(count, tf.shape(weights)[1])).indices
    kept = tf.gather(keys, order, batch_dims=1)
    missing = count - tf.shape(kept)[1]
    padded = tf.pad(kept, [[0, 0], [0, missing]], constant_values=PADDING_KEY)
    return tf.ensure_shape(padded, [None, count])


def _check(good: tf.Tensor, message: str, rows: tf.Tensor) -> tf.Operation:
    """An assertion that names shard and record of the first row that is not good."""
    row = rows[tf.argmin(tf.cast(good, tf.int32))]
    where = [f"{message}: shard, record", row // 2**32, row % 2**32]
    return tf.debugging.Assert(tf.reduce_all(good), where)
