"""The gallery's embeddings and image tokens: the Beam graph that makes them, and reading them.

The graph knows nothing of TFX: workers that load its code need not import it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vl_models.errors import UserError

_SCHEMA = pa.schema(
    [("id", pa.string()), ("uri", pa.string()), ("embedding", pa.list_(pa.float32()))]
)
_PIECE = 1024  # images whose tokens are in memory at once
# Numbers of float16 as bytes: Parquet readers of old know no such numbers.
_TOKENS_SCHEMA = pa.schema([("id", pa.string()), ("tokens", pa.binary())])


class TokenReader(NamedTuple):
    """A reranker that reads images apart from texts.

    Attributes:
        reranker: its SavedModel folder.
        out: folder that gets what it reads, `part*.parquet`.
    """

    reranker: str
    out: str


class _OnImages(beam.DoFn):
    """Calls a signature of a SavedModel with batches of serialised gallery Examples."""

    def __init__(self, model: str, signature: str):
        self._model = model
        self._signature = signature

    def setup(self) -> None:
        """Load the model once per worker."""
        import tensorflow as tf
        import tensorflow_text  # noqa: F401 -- registers the tokeniser's ops

        self._loaded = tf.saved_model.load(self._model)
        self._call = self._loaded.signatures[self._signature]

    def _outputs(self, serialized: Iterable[bytes], output: str) -> Iterator[tuple[str, str, Any]]:
        """Yield id, uri and the output of a name of each image."""
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
        outputs = self._call(image_bytes=tf.constant(encoded))[output].numpy()
        for image_id, uri, value in zip(ids, uris, outputs):
            yield image_id.decode(), uri.decode(), value


class EncodeImages(_OnImages):
    """Encodes images with an exported image tower."""

    def __init__(self, image_tower: str):
        super().__init__(image_tower, "encode_image")

    def process(self, serialized: Iterable[bytes]) -> Iterator[dict[str, Any]]:
        """Yield one row per image: id, uri, embedding float32 [D]."""
        for image_id, uri, embedding in self._outputs(serialized, "embedding"):
            yield {"id": image_id, "uri": uri, "embedding": embedding}


class ReadImageTokens(_OnImages):
    """Reads images with an exported reranker."""

    def __init__(self, reranker: str):
        super().__init__(reranker, "encode_image_tokens")

    def process(self, serialized: Iterable[bytes]) -> Iterator[dict[str, Any]]:
        """Yield one row per image: id, tokens float16 [T, W] as bytes."""
        for image_id, _, tokens in self._outputs(serialized, "tokens"):
            yield {"id": image_id, "tokens": tokens.tobytes()}


def encode_gallery(
    pipeline: beam.Pipeline,
    gallery: str,
    image_tower: str,
    out: str,
    batch_size: int,
    reader: TokenReader | None = None,
) -> None:
    """Add the graph that writes the gallery's embeddings, `part*.parquet`, to a pipeline.

    Args:
        pipeline: gets the graph.
        gallery: folder of the gallery's Examples.
        image_tower: SavedModel folder.
        out: folder of the embeddings.
        batch_size: images per call of a model.
        reader: also writes its image tokens.
    """
    batches = (
        pipeline
        | "Read" >> beam.io.ReadFromTFRecord(f"{gallery}/*.gz")
        | "Batch" >> beam.BatchElements(min_batch_size=batch_size, max_batch_size=batch_size)
    )
    _ = (
        batches
        | "Encode" >> beam.ParDo(EncodeImages(image_tower))
        | "Write" >> beam.io.WriteToParquet(f"{out}/part", _SCHEMA, file_name_suffix=".parquet")
    )
    if reader is not None:
        target = beam.io.WriteToParquet(
            f"{reader.out}/part", _TOKENS_SCHEMA, file_name_suffix=".parquet"
        )
        read = beam.ParDo(ReadImageTokens(reader.reranker))
        _ = batches | "ReadTokens" >> read | "WriteTokens" >> target


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


def read_image_tokens(
    folder: Path, ids: Sequence[str], width: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield rows int [n] and tokens float16 [n, T, W] of Parquet shards, piece by piece.

    Args:
        folder: of the shards.
        ids: of the images, in the order of the rows.
        width: W.

    Raises:
        UserError: tokens of an image that is none of these.
    """
    row_of = {image_id: row for row, image_id in enumerate(ids)}
    for path in sorted(folder.glob("*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(_PIECE):
            names = batch["id"].to_pylist()
            unknown = [name for name in names if name not in row_of]
            if unknown:
                raise UserError(
                    f"{path}: image tokens of {unknown[0]!r}, which has no embedding. Build the "
                    "index again."
                )
            tokens = [np.frombuffer(one, np.float16) for one in batch["tokens"].to_pylist()]
            rows = np.array([row_of[name] for name in names], np.int64)
            yield rows, np.stack(tokens).reshape(len(rows), -1, width)
