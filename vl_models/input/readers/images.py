"""Readers of `image`, with its further sizes and its extent, of `image_2` and `image_features`."""

from __future__ import annotations

import tensorflow as tf

from vl_models import features as f
from vl_models.input.augmentations import NUM_DRAWS, PRESETS, random_view
from vl_models.input.config import SourceSpec
from vl_models.input.images import Finish, Window, image_batch, random_part, random_square
from vl_models.input.readers.base import Reader, Records, Rows
from vl_models.input.sampling import AUGMENT, CROP, VIEW_2
from vl_models.row_random import draw_uniform, stream_seed


def _image_features(spec: SourceSpec) -> dict[str, object]:
    del spec
    return {f.IMAGE_ENCODED: tf.io.FixedLenFeature([], tf.string, "")}


def _read_image(records: Records) -> Rows:
    """`image` and, with two views, `image_2` of the same stored image."""
    encoded = records.parsed[f.IMAGE_ENCODED]
    batch = _decode(records, encoded, records.seeds)
    if records.spec.shared.views == 2:
        batch |= _second(_decode(records, encoded, stream_seed(records.seeds, VIEW_2)))
    return batch


def _second_image_features(spec: SourceSpec) -> dict[str, object]:
    stored = {f.IMAGE_2_ENCODED: tf.io.FixedLenFeature([], tf.string, "")}
    return stored if spec.shared.views == 1 else {}


def _read_second_image(records: Records) -> Rows:
    """`image_2` of the second stored image, with the random draws of the first."""
    if records.spec.shared.views == 2:
        return {}
    return _second(_decode(records, records.parsed[f.IMAGE_2_ENCODED], records.seeds))


def _second(batch: Rows) -> Rows:
    """Return the keys of an image as those of a second one: `image_2`, `image_2_extent`, …"""
    return {key.replace("image", "image_2", 1): value for key, value in batch.items()}


def _decode(records: Records, encoded: tf.Tensor, seeds: tf.Tensor) -> Rows:
    present = records.check(tf.strings.length(encoded) > 0, "A record has no image")
    with tf.control_dependencies([present]):
        encoded = tf.identity(encoded)
    facts = records.spec.facts
    window, finish, randomness = _view(records.spec, seeds)
    return image_batch(
        encoded,
        facts.image_sizes,
        facts.image_fit,
        share=facts.crop_share,
        window=window,
        finish=finish,
        randomness=randomness,
        parallel_iterations=1,  # several batches are made side by side instead
    )


def _view(
    spec: SourceSpec, seeds: tf.Tensor
) -> tuple[Window | None, Finish | None, tf.Tensor | None]:
    """Return what is done to images at random, and the randomness of it."""
    shared, facts = spec.shared, spec.facts
    if not shared.augment:
        return None, None, None
    if (preset := PRESETS.get(shared.augmentation)) is not None:
        return *random_view(preset), draw_uniform(stream_seed(seeds, AUGMENT), NUM_DRAWS)
    scale = shared.crop_bounds(facts.image_fit)
    window = random_square(scale) if facts.image_fit == "crop" else random_part(scale)
    return window, None, stream_seed(seeds, CROP)


def _vector_features(spec: SourceSpec) -> dict[str, object]:
    width = spec.facts.data.features["image_features"].width
    return {f.IMAGE_FEATURES: tf.io.FixedLenFeature([width], tf.float32)}


def _read_vectors(records: Records) -> Rows:
    return {"image_features": records.parsed[f.IMAGE_FEATURES]}


IMAGE = Reader(_image_features, _read_image)
IMAGE_2 = Reader(_second_image_features, _read_second_image)
IMAGE_VECTORS = Reader(_vector_features, _read_vectors)
