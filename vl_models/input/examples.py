"""Serialised tf.Examples, as ClickExampleGen writes them, to the rows of a batch.

Everything but the decoding of images is computed for all rows at once: an operation costs
microseconds to start, and decoding a small image only 300.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import pydantic
import tensorflow as tf

from vl_models import features as f
from vl_models.input.augmentations import NUM_DRAWS, PRESETS, decode_and_augment
from vl_models.input.draws import Selection
from vl_models.input.images import decode_and_crop
from vl_models.input.label_texts import (
    NO_LABEL,
    draw_label_texts,
    fill_templates,
    label_ids,
    label_names,
)
from vl_models.input.records import row_place
from vl_models.input.sampling import (
    AUGMENT,
    CROP,
    TEXT,
    VIEW_2,
    draw_texts,
    row_seed,
)
from vl_models.row_random import draw_uniform, stream_seed
from vl_models.strict_config import StrictConfig

Rows = dict[str, tf.Tensor]
InputKey = Literal["image", "image_2", "token_ids", "image_features", "text_features"]
TextKind = Literal["queries", "labels"]
AugmentationName = Literal["crop", "moco_v1", "moco_v2"]

# Fingerprints stay below this, so that -1 can pad.
_HASH_RANGE = 2**62
PADDING_HASH = -1
_WEAK = b"weak"


class InputConfig(StrictConfig):
    """What the rows of one source hold.

    ``image_size`` is the side of the model's input in pixels; ``max_clicked_queries`` 0 leaves
    out `clicked_query_hashes`; ``classes`` are the names of the columns of `label`,
    ``text_classes`` of those of `text_label`; none leave it out. ``total_clicks`` is the sum of
    `image/clicks_total` over the images; without it `image_log_q` is off by a constant, which a
    softmax over images does not see. ``augment``
    makes random images of the stored ones, as ``augmentation`` says: "crop" takes squares, of a
    random share ``crop_scale`` of the shorter side if that is given; the others are presets of
    `vl_models.input.augmentations`. Without it images are the centre squares. ``views`` 2 makes
    `image_2` a second, independent augmentation of the same stored image. ``shuffle_shards``
    files are read side by side and share one shuffle buffer. Texts are drawn by click weight **
    ``text_draw_power``: 1 by weight, 0 evenly.

    ``texts`` "labels" makes a row's texts of one of its label texts: it is put into
    ``templates``, and records without a label text are left out. Without ``use_labels`` rows
    count as unlabelled (`label_id` -1). ``image_draw_power`` p draws an image in proportion to
    its clicks ** p, once per epoch on average, and `image_log_q` is the log share of that; None
    takes the records as they are, and `image_log_q` is the log share of the clicks.
    ``weak_weight`` is a factor on draws and weights of queries of weak correlation.
    """

    inputs: tuple[InputKey, ...] = pydantic.Field(default=("image", "token_ids"), min_length=1)
    image_size: int = pydantic.Field(default=224, ge=1)
    texts: TextKind = "queries"
    templates: tuple[str, ...] = pydantic.Field(default=("{}",), min_length=1)
    use_labels: bool = True
    image_draw_power: float | None = pydantic.Field(default=None, ge=0)
    weak_weight: float = pydantic.Field(default=1.0, ge=0)
    text_draw_power: float = pydantic.Field(default=1.0, ge=0)
    max_clicked_queries: int = pydantic.Field(default=16, ge=0)
    classes: tuple[str, ...] = ()
    text_classes: tuple[str, ...] = ()
    image_features: int = pydantic.Field(default=0, ge=0)
    text_features: int = pydantic.Field(default=0, ge=0)
    total_clicks: float | None = pydantic.Field(default=None, gt=0)
    augment: bool = True
    augmentation: AugmentationName = "crop"
    views: Literal[1, 2] = 1
    crop_scale: tuple[float, float] | None = None
    shuffle: bool = True
    shuffle_shards: int = pydantic.Field(default=4, ge=1)

    @pydantic.model_validator(mode="after")
    def _widths_given(self) -> InputConfig:
        for name in ("image_features", "text_features"):
            if name in self.inputs and getattr(self, name) == 0:
                raise ValueError(f"input '{name}' needs its width, key '{name}'")
        if self.texts == "labels" and "text_features" in self.inputs:
            raise ValueError("texts of labels have no precomputed 'text_features'")
        return self

    @pydantic.model_validator(mode="after")
    def _images_fit(self) -> InputConfig:
        if self.views == 2 and "image" not in self.inputs:
            raise ValueError("views: 2 are views of the input 'image', which is not asked for")
        if self.augmentation != "crop" and self.crop_scale is not None:
            raise ValueError(f"crop_scale is for augmentation 'crop', not '{self.augmentation}'")
        return self

    @property
    def selection(self) -> Selection:
        """Which records the source takes, and how often."""
        return Selection(self.texts == "labels", self.image_draw_power or 0.0)


def rows_function(
    config: InputConfig,
    seed: int,
    source_id: int,
    texts_per_image: int,
    log_q_offset: float = 0.0,
) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor], Rows]:
    """The function from serialised records to their part of the batch.

    Args:
      config: which inputs, sizes and labels the source has.
      seed: seed of this source in this run.
      source_id: index of the source in the mixer.
      texts_per_image: n, texts drawn per image.
      log_q_offset: added to `image_log_q`: what makes it the log share of a batch's rows.

    Returns:
      A graph function of records string [B], rows int64 [B] and epoch int64 scalar to every
      key of the batch; texts are still strings, under the key "texts" [B·n], image-major.
    """
    specification = _specification(config)
    has_text = bool({"token_ids", "text_features"} & set(config.inputs))

    def to_rows(records: tf.Tensor, rows: tf.Tensor, epoch: tf.Tensor) -> Rows:
        parsed = tf.io.parse_example(records, specification)
        seeds = row_seed(seed, epoch, rows)
        batch: Rows = {
            "row": rows,
            "seed": seeds,
            "image_id_hash": _key(parsed[f.IMAGE_ID]),
            "source_id": tf.fill(tf.shape(rows), tf.constant(source_id, tf.int32)),
            "source_type": _source_type(parsed[f.SOURCE_TYPE]),
            "image_log_q": _image_log_q(parsed[f.IMAGE_CLICKS_TOTAL], config, log_q_offset),
            **_labels(parsed, config),
        }
        for name, (feature, image_seeds) in _images(config, seeds).items():
            batch[name] = _decode(parsed[feature], config, image_seeds, rows)
        if "image_features" in config.inputs:
            batch["image_features"] = parsed[f.IMAGE_FEATURES]
        if config.texts == "labels":
            batch |= _label_texts(parsed, config, texts_per_image, seeds, rows)
        elif has_text:
            batch |= _texts(parsed, config, texts_per_image, seeds, rows)
        return batch

    return to_rows


def _specification(config: InputConfig) -> dict[str, object]:
    """How the features that this source needs are parsed; the rest is skipped."""
    specification: dict[str, object] = {
        f.IMAGE_ID: tf.io.FixedLenFeature([], tf.string, ""),
        f.IMAGE_CLICKS_TOTAL: tf.io.FixedLenFeature([], tf.int64, 0),
        f.SOURCE_TYPE: tf.io.FixedLenFeature([], tf.string, f.SOURCE_TYPES[0]),
    }
    if config.use_labels or config.classes or config.texts == "labels":
        specification[f.LABEL_ID] = tf.io.RaggedFeature(tf.int64)
        specification[f.LABEL_TEXT] = tf.io.RaggedFeature(tf.string)
    if config.text_classes:
        specification[f.TEXT_LABEL_TEXT] = tf.io.RaggedFeature(tf.string)
    if "image" in config.inputs:
        specification[f.IMAGE_ENCODED] = tf.io.FixedLenFeature([], tf.string, "")
    if "image_2" in config.inputs and config.views == 1:
        specification[f.IMAGE_2_ENCODED] = tf.io.FixedLenFeature([], tf.string, "")
    if "image_features" in config.inputs:
        specification[f.IMAGE_FEATURES] = tf.io.FixedLenFeature([config.image_features], tf.float32)
    if {"token_ids", "text_features"} & set(config.inputs):
        specification[f.QUERY_TEXT] = tf.io.RaggedFeature(tf.string)
        specification[f.QUERY_WEIGHT] = tf.io.RaggedFeature(tf.float32)
        if config.weak_weight != 1.0:
            specification[f.QUERY_CORRELATION] = tf.io.RaggedFeature(tf.string)
    if "text_features" in config.inputs:
        specification[f.QUERY_FEATURES] = tf.io.RaggedFeature(tf.float32)
    return specification


def _key(ids: tf.Tensor) -> tf.Tensor:
    """Stable non-negative int64 fingerprints (FarmHash) of strings."""
    return tf.strings.to_hash_bucket_fast(ids, _HASH_RANGE)


def _source_type(names: tf.Tensor) -> tf.Tensor:
    """Indices into `features.SOURCE_TYPES`, int32 [B]."""
    known = tf.constant(f.SOURCE_TYPES)
    return tf.argmax(names[:, tf.newaxis] == known, axis=1, output_type=tf.int32)


def _image_log_q(clicks: tf.Tensor, config: InputConfig, offset: float) -> tf.Tensor:
    """Log share of the draws, or of the clicks; an image without clicks counts as one with one."""
    log_clicks = tf.math.log(tf.cast(tf.maximum(clicks, 1), tf.float32))
    if config.image_draw_power is not None:
        log_clicks *= config.image_draw_power
    elif config.total_clicks is not None:
        log_clicks -= tf.math.log(tf.constant(config.total_clicks, tf.float32))
    return log_clicks + offset


def _labels(parsed: Rows, config: InputConfig) -> Rows:
    """label_id int32 [B] (the first, -1 = none), label and text_label as far as asked for."""
    rows = tf.shape(parsed[f.IMAGE_ID])[0]
    batch: Rows = {"label_id": tf.fill([rows], tf.constant(NO_LABEL, tf.int32))}
    if config.use_labels:
        batch["label_id"] = label_ids(parsed[f.LABEL_ID], parsed[f.LABEL_TEXT])[:, 0]
    if config.classes:
        names = label_names(parsed[f.LABEL_ID], parsed[f.LABEL_TEXT])
        batch["label"] = _multi_hot(names, config.classes)
    if config.text_classes:
        names = parsed[f.TEXT_LABEL_TEXT].to_tensor("")
        batch["text_label"] = _multi_hot(names, config.text_classes)
    return batch


def _multi_hot(names: tf.Tensor, classes: Sequence[str]) -> tf.Tensor:
    """Which of C classes are among the names of each row, string [B, K]: float32 [B, C]."""
    matches = names[:, :, tf.newaxis] == tf.constant(classes)
    return tf.cast(tf.reduce_any(matches, axis=1), tf.float32)


def _label_texts(
    parsed: Rows, config: InputConfig, count: int, seeds: tf.Tensor, rows: tf.Tensor
) -> Rows:
    """Texts made of one drawn label of each row, and everything that belongs to them."""
    lengths = parsed[f.LABEL_TEXT].row_lengths()
    given = parsed[f.LABEL_ID].row_lengths()
    matching = (given == 0) | (given == lengths)
    message = "A record has not as many label ids as label texts"
    with tf.control_dependencies([_check(matching, message, rows)]):
        labels = parsed[f.LABEL_TEXT].to_tensor("")
    filled = fill_templates(config.templates, labels)
    which, texts = draw_label_texts(filled, lengths, count, seeds)
    texts = tf.reshape(texts, [rows.shape[0] * count])
    source_type = f.SOURCE_TYPES.index("label")
    batch: Rows = {
        "texts": texts,
        "query_hash": _key(texts),
        "query_weight": tf.ones_like(texts, tf.float32),
        "source_type": tf.fill(tf.shape(rows), tf.constant(source_type, tf.int32)),
    }
    if config.use_labels:
        ids = label_ids(parsed[f.LABEL_ID], parsed[f.LABEL_TEXT])
        batch["label_id"] = tf.gather(ids, which, batch_dims=1)
    if config.max_clicked_queries:
        # Every text that the row's labels can make belongs to its image, before its queries.
        own = tf.repeat(
            tf.sequence_mask(lengths, tf.shape(labels)[1]), len(config.templates), axis=1
        )
        queries = parsed[f.QUERY_TEXT].to_tensor("")
        clicked = tf.sequence_mask(parsed[f.QUERY_TEXT].row_lengths(), tf.shape(queries)[1])
        weights = parsed[f.QUERY_WEIGHT].to_tensor(1.0, shape=tf.shape(queries))
        batch["clicked_query_hashes"] = _heaviest(
            tf.concat([tf.reshape(_key(filled), tf.shape(own)), _key(queries)], axis=1),
            tf.concat([tf.fill(tf.shape(own), tf.float32.max), weights], axis=1),
            tf.concat([own, clicked], axis=1),
            config.max_clicked_queries,
        )
    return batch


def _images(config: InputConfig, seeds: tf.Tensor) -> dict[str, tuple[str, tf.Tensor]]:
    """The feature that each image of the batch is made of, and the seeds of its randomness."""
    images = {}
    if "image" in config.inputs:
        images["image"] = (f.IMAGE_ENCODED, seeds)
    if config.views == 2:
        images["image_2"] = (f.IMAGE_ENCODED, stream_seed(seeds, VIEW_2))
    elif "image_2" in config.inputs:
        images["image_2"] = (f.IMAGE_2_ENCODED, seeds)
    return images


def _decode(
    encoded: tf.Tensor, config: InputConfig, seeds: tf.Tensor, rows: tf.Tensor
) -> tf.Tensor:
    present = _check(tf.strings.length(encoded) > 0, "A record has no image", rows)
    with tf.control_dependencies([present]):
        encoded = tf.identity(encoded)

    size, name = config.image_size, config.augmentation

    def crop(image: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        return decode_and_crop(
            image[0], size, training=config.augment, seed=image[1], scale=config.crop_scale
        )

    def augment(image: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        return decode_and_augment(image[0], size, image[1], PRESETS[name])

    if config.augment and name in PRESETS:
        decode, randomness = augment, draw_uniform(stream_seed(seeds, AUGMENT), NUM_DRAWS)
    else:
        decode, randomness = crop, stream_seed(seeds, CROP)
    return tf.map_fn(
        decode,
        (encoded, randomness),
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
    factors = None
    if config.weak_weight != 1.0:
        factors = _correlation_factors(parsed, config.weak_weight, lengths, tf.shape(texts), rows)
    drawn = draw_texts(weights, lengths, count, text_seeds, config.text_draw_power, factors)
    keys = _key(texts)

    def pick(values: tf.Tensor) -> tf.Tensor:
        """[B, N, …] to the drawn ones [B·n, …], image-major."""
        picked = tf.gather(values, drawn, batch_dims=1)
        return tf.reshape(picked, [rows.shape[0] * count, *values.shape[2:]])

    counted = weights if factors is None else weights * factors
    batch: Rows = {"query_hash": pick(keys), "query_weight": pick(counted)}
    if "token_ids" in config.inputs:
        batch["texts"] = pick(texts)
    if "text_features" in config.inputs:
        batch["text_features"] = pick(_text_features(parsed, config.text_features, lengths, rows))
    if config.max_clicked_queries:
        present = tf.sequence_mask(lengths, tf.shape(keys)[1])
        clicked = _heaviest(keys, weights, present, config.max_clicked_queries)
        batch["clicked_query_hashes"] = tf.ensure_shape(clicked, [rows.shape[0], None])
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


def _correlation_factors(
    parsed: Rows, weak_weight: float, lengths: tf.Tensor, shape: tf.Tensor, rows: tf.Tensor
) -> tf.Tensor:
    """``weak_weight`` for queries of weak correlation, else 1: float32 [B, N]."""
    correlation = parsed[f.QUERY_CORRELATION]
    given = correlation.row_lengths()
    message = "A record has not as many correlations as texts"
    with tf.control_dependencies([_check((given == 0) | (given == lengths), message, rows)]):
        padded = correlation.to_tensor("", shape=shape)
    return tf.where(padded == _WEAK, weak_weight, 1.0)


def _heaviest(keys: tf.Tensor, weights: tf.Tensor, present: tf.Tensor, count: int) -> tf.Tensor:
    """Keys of the ``count`` heaviest present texts, padded with -1, int64 [B, count]."""
    keys = tf.where(present, keys, tf.constant(PADDING_HASH, tf.int64))
    weights = tf.where(present, weights, -float("inf"))
    order = tf.math.top_k(weights, tf.minimum(count, tf.shape(weights)[1])).indices
    kept = tf.gather(keys, order, batch_dims=1)
    missing = count - tf.shape(kept)[1]
    padded = tf.pad(kept, [[0, 0], [0, missing]], constant_values=PADDING_HASH)
    return tf.ensure_shape(padded, [None, count])


def _check(good: tf.Tensor, message: str, rows: tf.Tensor) -> tf.Operation:
    """An assertion that names shard and record of the first row that is not good."""
    row = rows[tf.argmin(tf.cast(good, tf.int32))]
    where = [f"{message}: shard, record", *row_place(row)]
    return tf.debugging.Assert(tf.reduce_all(good), where)
