"""The gallery's embeddings: the Beam graph that makes them, and reading them for the index.

The graph knows nothing of TFX: workers that load its code need not import it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

_SCHEMA = pa.schema(
    [("id", pa.string()), ("uri", pa.string()), ("embedding", pa.list_(pa.float32()))]
)


class EncodeImages(beam.DoFn):
    """Encodes batches of serialised gallery Examples with an exported image tower."""

    def __init__(self, image_tower: str):
        self._image_tower = image_tower

    def setup(self) -> None:
        """Load the tower once per worker."""
        import tensorflow as tf

        self._loaded = tf.saved_model.load(self._image_tower)
        self._encode = self._loaded.signatures["encode_image"]

    def process(self, serialized: Iterable[bytes]) -> Iterator[dict[str, Any]]:
        """Yield one row per image: id, uri, embedding float32 [D]."""
        import tensorflow as tf

        from vl_models import features

        images = []
        for record in serialized:
            example = tf.train.Example.FromString(record).features.feature
            images.append(
                [
                    example[name].bytes_list.value[0]
                    for name in (features.IMAGE_ID, features.IMAGE_URI, features.IMAGE_ENCODED)
                ]
            )
        ids, uris, encoded = zip(*images)
        embeddings = self._encode(image_bytes=tf.constant(encoded))["embedding"].numpy()
        for image_id, uri, embedding in zip(ids, uris, embeddings):
            yield {"id": image_id.decode(), "uri": uri.decode(), "embedding": embedding}


def encode_gallery(
    pipeline: beam.Pipeline, gallery: str, image_tower: str, out: str, batch_size: int
) -> None:
    """Add the graph that writes the gallery's embeddings, `part*.parquet`, to a pipeline."""
    _ = (
        pipeline
        | "Read" >> beam.io.ReadFromTFRecord(f"{gallery}/*.gz")
        | "Batch" >> beam.BatchElements(min_batch_size=batch_size, max_batch_size=batch_size)
        | "Encode" >> beam.ParDo(EncodeImages(image_tower))
        | "Write" >> beam.io.WriteToParquet(f"{out}/part", _SCHEMA, file_name_suffix=".parquet")
    )


def read_embeddings(folder: Path) -> tuple[list[str], list[str], np.ndarray]:
    """Ids, uris and embeddings float32 [N, D] of Parquet shards, sorted by id.

    The order of Beam's output is not defined; the content of an index should be. Rows go batch by
    batch to their place: one Arrow list array cannot hold more than 2^31 numbers.
    """
    shards = [pq.ParquetFile(path) for path in sorted(folder.glob("*.parquet"))]
    items = pa.concat_tables([shard.read(["id", "uri"]) for shard in shards])
    order = np.asarray(pc.sort_indices(items["id"]))
    place = np.argsort(order)
    matrix = np.empty((0, 0), np.float32)
    start = 0
    for shard in shards:
        for batch in shard.iter_batches(columns=["embedding"]):
            vectors = np.asarray(batch["embedding"].flatten()).reshape(len(batch), -1)
            if not start:
                matrix = np.empty((len(items), vectors.shape[1]), np.float32)
            matrix[place[start : start + len(batch)]] = vectors
            start += len(batch)
    items = items.take(order)
    return items["id"].to_pylist(), items["uri"].to_pylist(), matrix
