"""Reading the gallery: every image of the store once, as GZIP TFRecords of tf.Example."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from vl_models import features
from vl_models.errors import UserError
from vl_models.input.untuned import untuned


def read_batches(
    gallery_dir: str | Path, batch_size: int
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yield (image ids, encoded images bytes[n]) in the order of the files.

    Raises:
        UserError: no file ``data_tfrecord-*.gz`` in the folder.
    """
    spec = {
        name: tf.io.FixedLenFeature([], tf.string)
        for name in (features.IMAGE_ID, features.IMAGE_ENCODED)
    }
    dataset = tf.data.TFRecordDataset(_files(gallery_dir), "GZIP").batch(batch_size)
    dataset = untuned(dataset.map(lambda batch: tf.io.parse_example(batch, spec)).prefetch(2))
    for batch in dataset.as_numpy_iterator():
        ids = [image_id.decode("utf-8") for image_id in batch[features.IMAGE_ID]]
        yield ids, batch[features.IMAGE_ENCODED]


def read_images(gallery_dir: str | Path, image_ids: Collection[str]) -> dict[str, bytes]:
    """Return encoded images of some ids; ids that the gallery lacks are absent."""
    wanted = set(image_ids)
    found: dict[str, bytes] = {}
    if not wanted:
        return found
    for ids, images in read_batches(gallery_dir, batch_size=256):
        found.update(
            (image_id, image) for image_id, image in zip(ids, images) if image_id in wanted
        )
        if len(found) == len(wanted):
            break
    return found


def read_labels(
    gallery_dir: str | Path, keep: Collection[str] | None = None
) -> dict[str, tuple[str, ...]]:
    """Label texts of the images that have some, by image id; of ``keep`` only, if given.

    Raises:
        UserError: no file ``data_tfrecord-*.gz`` in the folder.
    """
    wanted = None if keep is None else set(keep)
    spec = {
        features.IMAGE_ID: tf.io.FixedLenFeature([], tf.string),
        features.LABEL_TEXT: tf.io.RaggedFeature(tf.string),
    }
    dataset = tf.data.TFRecordDataset(_files(gallery_dir), "GZIP").batch(256)
    dataset = untuned(dataset.map(lambda batch: tf.io.parse_example(batch, spec)).prefetch(2))
    found: dict[str, tuple[str, ...]] = {}
    for batch in dataset:
        for image_id, labels in zip(
            batch[features.IMAGE_ID].numpy(), batch[features.LABEL_TEXT].to_list()
        ):
            name = image_id.decode("utf-8")
            if labels and (wanted is None or name in wanted):
                found[name] = tuple(sorted({label.decode("utf-8") for label in labels}))
    return found


def _files(gallery_dir: str | Path) -> list[str]:
    files = sorted(str(file) for file in Path(gallery_dir).glob("data_tfrecord-*.gz"))
    if not files:
        raise UserError(
            "The gallery has no file data_tfrecord-*.gz. "
            f"Received: gallery_dir={str(gallery_dir)!r}"
        )
    return files
