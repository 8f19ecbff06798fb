"""One tf.Example, as ClickExampleGen writes it, to one row of the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pydantic
import tensorflow as tf

from vl_models import features as f
from vl_models.images import decode_and_crop
from vl_models.strict_config import StrictConfig
from vl_models.training.sampling import CROP, TEXT, draw_texts, row_seed, stream_seed

Row = dict[str, tf.Tensor]
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
    are read side by side and share one shuffle buffer.
    """

    modalities: tuple[Modality, ...] = pydantic.Field(default=("image", "text"), min_length=1)
    image_size: int = pydantic.Field(default=224, ge=1)
    text_draw: Literal["weight", "uniform"] = "weight"
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


def row_function(
    config: InputConfig, seed: int, source_id: int, texts_per_image: int
) -> Callable[[Row], Row]:
    """The function from a serialised record to a row, to be mapped over a dataset.

    Args:
      config: which modalities, sizes and labels the source has.
      seed: seed of this source in this run.
      source_id: index of the source in the mixer.
      texts_per_image: n, texts drawn per image.

    Returns:
      A function of {record, row, epoch} to the row's part of every batch key; texts are
      still strings, under the key "texts" [n].
    """
    specification = _specification(config)
    has_text = bool({"text", "text_features"} & set(config.modalities))

    def to_row(item: Row) -> Row:
        parsed = tf.io.parse_single_example(item["record"], specification)
        row_random = row_seed(seed, item["epoch"], item["row"])
        row: Row = {
            "row": item["row"],
            "seed": row_random,
            "image_key": _key(parsed[f.IMAGE_ID]),
            "source_id": tf.constant(source_id, tf.int32),
            "source_type": _source_type(parsed[f.SOURCE_TYPE]),
            "image_log_q": _image_log_q(parsed[f.IMAGE_CLICKS_TOTAL], config.total_clicks),
            **_labels(parsed[f.LABEL_ID], config.num_labels),
        }
        for name, feature in (("image", f.IMAGE_ENCODED), ("image_2", f.IMAGE_2_ENCODED)):
            if name in config.modalities:
                row[name] = _decode(parsed[feature], config, row_random, item["row"])
        if "image_features" in config.modalities:
            row["image_features"] = parsed[f.IMAGE_FEATURES]
        if has_text:
            row |= _texts(parsed, config, texts_per_image, row_random, item["row"])
        return row

    return to_row


def _specification(config: InputConfig) -> dict[str, object]:
    """How the features that this source needs are parsed; the rest is skipped."""

    def many(dtype: tf.DType) -> tf.io.FixedLenSequenceFeature:
        return tf.io.FixedLenSequenceFeature([], dtype, allow_missing=True)

    specification: dict[str, object] = {
        f.IMAGE_ID: tf.io.FixedLenFeature([], tf.string, ""),
        f.IMAGE_CLICKS_TOTAL: tf.io.FixedLenFeature([], tf.int64, 0),
        f.SOURCE_TYPE: tf.io.FixedLenFeature([], tf.string, f.SOURCE_TYPES[0]),
        f.LABEL_ID: many(tf.int64),
    }
    if "image" in config.modalities:
        specification[f.IMAGE_ENCODED] = tf.io.FixedLenFeature([], tf.string, "")
    if "image_2" in config.modalities:
        specification[f.IMAGE_2_ENCODED] = tf.io.FixedLenFeature([], tf.string, "")
    if "image_features" in config.modalities:
        specification[f.IMAGE_FEATURES] = tf.io.FixedLenFeature([config.image_features], tf.float32)
    if {"text", "text_features"} & set(config.modalities):
        specification[f.QUERY_TEXT] = many(tf.string)
        specification[f.QUERY_WEIGHT] = many(tf.float32)
    if "text_features" in config.modalities:
        specification[f.QUERY_FEATURES] = tf.io.FixedLenSequenceFeature(
            [config.text_features], tf.float32, allow_missing=True
        )
    return specification


def _key(ids: tf.Tensor) -> tf.Tensor:
    """Stable non-negative int64 fingerprints (FarmHash) of strings."""
    return tf.strings.to_hash_bucket_fast(ids, _KEY_RANGE)


def _source_type(name: tf.Tensor) -> tf.Tensor:
    """Index into `features.SOURCE_TYPES`, int32 scalar."""
    return tf.argmax(tf.equal(name, tf.constant(f.SOURCE_TYPES)), output_type=tf.int32)


def _image_log_q(clicks: tf.Tensor, total: float | None) -> tf.Tensor:
    """Log share of the clicks; an image without clicks counts as one with one."""
    log_clicks = tf.math.log(tf.cast(tf.maximum(clicks, 1), tf.float32))
    return log_clicks if total is None else log_clicks - tf.math.log(tf.constant(total, tf.float32))


def _labels(ids: tf.Tensor, num_labels: int) -> Row:
    """label_id int32 (the first, -1 = none), and label float32 [C] multi-hot if C > 0."""
    padded = tf.concat([ids, tf.constant([-1], tf.int64)], 0)
    row: Row = {"label_id": tf.cast(padded[0], tf.int32)}
    if num_labels:
        row["label"] = tf.reduce_max(
            tf.one_hot(padded, num_labels), axis=0
        )  # one_hot(-1) is all zeros
    return row


def _decode(encoded: tf.Tensor, config: InputConfig, seed: tf.Tensor, row: tf.Tensor) -> tf.Tensor:
    present = tf.debugging.Assert(
        tf.strings.length(encoded) > 0, ["A record has no image: shard, record", *_where(row)]
    )
    with tf.control_dependencies([present]):
        encoded = tf.identity(encoded)
    return decode_and_crop(
        encoded,
        config.image_size,
        training=config.augment,
        seed=stream_seed(seed, CROP),
        scale=config.crop_scale,
    )


def _texts(parsed: Row, config: InputConfig, count: int, seed: tf.Tensor, row: tf.Tensor) -> Row:
    """Draw texts and everything that belongs to them."""
    texts = parsed[f.QUERY_TEXT]
    present = tf.debugging.Assert(
        tf.size(texts) > 0, ["A record has no text: shard, record", *_where(row)]
    )
    with tf.control_dependencies([present]):
        texts = tf.identity(texts)
    weights = parsed[f.QUERY_WEIGHT]
    weights = tf.cond(
        tf.size(weights) > 0, lambda: weights, lambda: tf.ones(tf.shape(texts), tf.float32)
    )
    drawn = draw_texts(weights, count, stream_seed(seed, TEXT), config.text_draw == "uniform")
    keys = _key(texts)
    result: Row = {
        "query_key": tf.gather(keys, drawn),
        "query_weight": tf.gather(weights, drawn),
    }
    if "text" in config.modalities:
        result["texts"] = tf.gather(texts, drawn)
    if "text_features" in config.modalities:
        result["text_features"] = tf.gather(parsed[f.QUERY_FEATURES], drawn)
    if config.max_clicked_queries:
        result["clicked_query_keys"] = _heaviest(keys, weights, config.max_clicked_queries)
    return result


def _heaviest(keys: tf.Tensor, weights: tf.Tensor, count: int) -> tf.Tensor:
    """Keys of the ``count`` heaviest texts, padded with -1, int64 [count]."""
    order = tf.argsort(weights, direction="DESCENDING", stable=True)[:count]
    kept = tf.gather(keys, order)
    padded = tf.pad(kept, [[0, count - tf.size(kept)]], constant_values=PADDING_KEY)
    return tf.ensure_shape(padded, [count])


def _where(row: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Index of the shard and of the record in it, for messages."""
    return row // 2**32, row % 2**32
