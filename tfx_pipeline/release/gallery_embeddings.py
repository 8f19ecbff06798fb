"""The gallery's embeddings and image tokens: the Beam graph that makes them, and reading them.

The graph knows nothing of TFX: workers that load its code need not import it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from serving.index import SearchIndex
from vl_models.errors import UserError

_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("uri", pa.string()),
        ("content", pa.string()),  # SHA-256 of the encoded image
        ("embedding", pa.list_(pa.float32())),
    ]
)
_PIECE = 1024  # images whose tokens are in memory at once
# Numbers of float16 as bytes: Parquet readers of old know no such numbers.
_TOKENS_SCHEMA = pa.schema([("id", pa.string()), ("tokens", pa.binary())])


class TokenReader(NamedTuple):
    """A reranker that reads images apart from texts.

    Attributes:
        reranker: its SavedModel folder.
        out: folder that gets what it reads, `part*.parquet`.
        kept: index of the same reranker, of whose images nothing is read again.
    """

    reranker: str
    out: str
    kept: str | None = None


class GalleryEmbeddings(NamedTuple):
    """The encoded gallery, sorted by id.

    Attributes:
        ids: N image ids.
        uris: their addresses.
        contents: SHA-256 of each encoded image.
        matrix: embeddings float32 [N, D].
    """

    ids: list[str]
    uris: list[str]
    contents: list[str]
    matrix: np.ndarray


class _OnImages(beam.DoFn):
    """Calls a signature of a SavedModel with batches of serialised gallery Examples.

    Args:
        model: SavedModel folder.
        signature: its signature of `image_bytes`.
        output: of the signature.
        kept: index that holds the output of the same model for images it was made of.
    """

    def __init__(self, model: str, signature: str, output: str, kept: str | None):
        self._model = model
        self._signature = signature
        self._output = output
        self._kept = kept

    def setup(self) -> None:
        """Load the model once per worker."""
        import tensorflow as tf
        import tensorflow_text  # noqa: F401 -- registers the tokeniser's ops

        self._loaded = tf.saved_model.load(self._model)
        self._call = self._loaded.signatures[self._signature]
        self._index = None if self._kept is None else SearchIndex.load(self._kept)
        contents = [] if self._index is None else self._index.items.contents() or []
        self._row_of = {content: row for row, content in reversed([*enumerate(contents)])}

    def _outputs(self, serialized: Iterable[bytes]) -> Iterator[tuple[str, str, str, Any]]:
        """Yield id, uri, content and output of each image."""
        import tensorflow as tf

        from vl_models import features

        ids: list[bytes] = []
        uris: list[bytes] = []
        encoded: list[bytes] = []
        for record in serialized:
            example = tf.train.Example.FromString(record).features.feature
            for values, name in (
                (ids, features.IMAGE_ID),
                (uris, features.IMAGE_URI),
                (encoded, features.IMAGE_ENCODED),
            ):
                values.append(example[name].bytes_list.value[0])
        contents = [hashlib.sha256(image).hexdigest() for image in encoded]
        new = [place for place, content in enumerate(contents) if content not in self._row_of]
        outputs: dict[int, Any] = {}
        if new:
            images = tf.constant([encoded[place] for place in new])
            outputs = dict(zip(new, self._call(image_bytes=images)[self._output].numpy()))
        old = [place for place in range(len(contents)) if place not in outputs]
        if old:
            outputs |= zip(old, self._kept_outputs([self._row_of[contents[p]] for p in old]))
        for place, (image_id, uri) in enumerate(zip(ids, uris)):
            yield image_id.decode(), uri.decode(), contents[place], outputs[place]

    def _kept_outputs(self, rows: Sequence[int]) -> np.ndarray:
        raise NotImplementedError


class EncodeImages(_OnImages):
    """Encodes images with an exported image tower."""

    def __init__(self, image_tower: str, kept: str | None = None):
        super().__init__(image_tower, "encode_image", "embedding", kept)

    def process(self, serialized: Iterable[bytes]) -> Iterator[dict[str, Any]]:
        """Yield one row per image: id, uri, content, embedding float32 [D]."""
        for row in self._outputs(serialized):
            yield dict(zip(_SCHEMA.names, row))

    def _kept_outputs(self, rows: Sequence[int]) -> np.ndarray:
        assert self._index is not None
        return self._index.vectors(rows)


class ReadImageTokens(_OnImages):
    """Reads images with an exported reranker."""

    def __init__(self, reranker: str, kept: str | None = None):
        super().__init__(reranker, "encode_image_tokens", "tokens", kept)

    def process(self, serialized: Iterable[bytes]) -> Iterator[dict[str, Any]]:
        """Yield one row per image: id, tokens float16 [T, W] as bytes."""
        for image_id, _, _, tokens in self._outputs(serialized):
            yield {"id": image_id, "tokens": tokens.tobytes()}

    def _kept_outputs(self, rows: Sequence[int]) -> np.ndarray:
        assert self._index is not None
        tokens = self._index.image_tokens(rows)
        assert tokens is not None
        return tokens


def encode_gallery(
    pipeline: beam.Pipeline,
    gallery: str,
    image_tower: str,
    out: str,
    batch_size: int,
    reader: TokenReader | None = None,
    kept: str | None = None,
) -> None:
    """Add the graph that writes the gallery's embeddings, `part*.parquet`, to a pipeline.

    Args:
        pipeline: gets the graph.
        gallery: folder of the gallery's Examples.
        image_tower: SavedModel folder.
        out: folder of the embeddings.
        batch_size: images per call of a model.
        reader: also writes its image tokens.
        kept: index of the same tower, of whose images none is encoded again.
    """
    batches = (
        pipeline
        | "Read" >> beam.io.ReadFromTFRecord(f"{gallery}/*.gz")
        | "Batch" >> beam.BatchElements(min_batch_size=batch_size, max_batch_size=batch_size)
    )
    _ = (
        batches
        | "Encode" >> beam.ParDo(EncodeImages(image_tower, kept))
        | "Write" >> beam.io.WriteToParquet(f"{out}/part", _SCHEMA, file_name_suffix=".parquet")
    )
    if reader is not None:
        target = beam.io.WriteToParquet(
            f"{reader.out}/part", _TOKENS_SCHEMA, file_name_suffix=".parquet"
        )
        read = beam.ParDo(ReadImageTokens(reader.reranker, reader.kept))
        _ = batches | "ReadTokens" >> read | "WriteTokens" >> target


def read_embeddings(folder: Path) -> GalleryEmbeddings:
    """Return what is in Parquet shards, sorted by id.

    The order of Beam's output is not defined; the content of an index should be. Rows go batch by
    batch to their place: one Arrow list array cannot hold more than 2^31 numbers.
    """
    shards = [pq.ParquetFile(path) for path in sorted(folder.glob("*.parquet"))]
    items = pa.concat_tables([shard.read(["id", "uri", "content"]) for shard in shards])
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
    ids, uris, contents = (items[name].to_pylist() for name in ("id", "uri", "content"))
    return GalleryEmbeddings(ids, uris, contents, matrix)


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
