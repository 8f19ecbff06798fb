"""A few real queries and images, for checks and warm-up."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pyarrow.parquet as pq


@dataclasses.dataclass(frozen=True)
class GalleryImage:
    """An image of the gallery: its id and its encoded bytes."""

    image_id: str
    encoded: bytes


def sample_queries(relevance_path: Path, count: int) -> list[str]:
    """Distinct queries spread evenly over the sorted file, so over lengths and languages."""
    queries = sorted(set(pq.read_table(relevance_path, columns=["query"])["query"].to_pylist()))
    step = max(1, len(queries) // count)
    return queries[::step][:count]


def sample_images(gallery_dir: Path, count: int) -> list[GalleryImage]:
    """The first images of the gallery's files."""
    import tensorflow as tf

    from vl_models import features

    files = sorted(str(path) for path in gallery_dir.glob("*.gz"))
    images = []
    for record in tf.data.TFRecordDataset(files, "GZIP").take(count).as_numpy_iterator():
        example = tf.train.Example.FromString(record).features.feature
        images.append(
            GalleryImage(
                example[features.IMAGE_ID].bytes_list.value[0].decode("utf-8"),
                example[features.IMAGE_ENCODED].bytes_list.value[0],
            )
        )
    return images
