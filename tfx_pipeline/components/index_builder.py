"""IndexBuilder: encodes the gallery with the exported image tower and builds the index."""

# No postponed annotations here: TFX reads the types of the component function.

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tfx.dsl.component.experimental.annotations import (
    BeamComponentParameter,
    InputArtifact,
    OutputArtifact,
    Parameter,
)
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from tfx_pipeline.components.artifacts import Gallery, VectorIndex

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


@component(use_beam=True)
def IndexBuilder(
    gallery: InputArtifact[Gallery],
    model: InputArtifact[standard_artifacts.Model],
    index: OutputArtifact[VectorIndex],
    kind: Parameter[str],
    batch_size: Parameter[int] = 64,
    code_fingerprint: Parameter[str] = "",
    beam_pipeline: BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Write the embeddings (Parquet shards) and the index over them.

    Args:
      gallery: every image of the store.
      model: the Trainer's model; its image tower encodes.
      index: gets `embeddings/` and `index/` (as `serving.index` reads it).
      kind: "flat", "hnsw" or "binary".
      batch_size: images per call of the tower.
      code_fingerprint: of the code that builds, for the cache key only.
      beam_pipeline: given by TFX.
    """
    del code_fingerprint
    from serving.index import build_index

    image_tower = Path(path_utils.serving_model_path(model.uri), "image_tower")
    embeddings_dir = Path(index.uri, "embeddings")
    with beam_pipeline as pipeline:
        _ = (
            pipeline
            | "Read" >> beam.io.ReadFromTFRecord(str(Path(gallery.uri, "*.gz")))
            | "Batch" >> beam.BatchElements(min_batch_size=batch_size, max_batch_size=batch_size)
            | "Encode" >> beam.ParDo(EncodeImages(str(image_tower)))
            | "Write"
            >> beam.io.WriteToParquet(
                str(embeddings_dir / "part"), _SCHEMA, file_name_suffix=".parquet"
            )
        )
    ids, uris, matrix = read_embeddings(embeddings_dir)
    build_index(matrix, ids, uris, Path(index.uri, "index"), kind=kind)
    logging.info("Index of %d images, %d dimensions", *matrix.shape)
