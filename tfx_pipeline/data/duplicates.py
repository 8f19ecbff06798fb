"""Images of one content under several ids: found by hash, kept in one split."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import TaggedOutput

from tfx_pipeline.data.stats import count, new_stats, note
from tfx_pipeline.data.tables import from_bytes, to_bytes

CONTENT_SCHEMA = pa.schema([("content", pa.string()), ("image_id", pa.string())])
DUPLICATE_SCHEMA = pa.schema([("image_id", pa.string()), ("original", pa.string())])
_NAMES = DUPLICATE_SCHEMA.names


def hash_content(encoded: bytes) -> str:
    """Return what equal pictures share: a hash of the image as it is stored in Examples.

    Re-encoding makes one of copies that differ in metadata or in a lossless format alone.
    """
    return hashlib.sha256(encoded).hexdigest()


class FindDuplicates(beam.DoFn):
    """Contents of one shard (CONTENT_SCHEMA) → its duplicates (DUPLICATE_SCHEMA), and stats.

    The original of several ids is the smallest one; it is not listed itself.
    """

    DUPLICATES, STATS = "duplicates", "stats"

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[TaggedOutput]:
        """Compare the images of one shard of hashes."""
        _, pieces = element
        images = from_bytes(pieces, CONTENT_SCHEMA)
        originals = images.group_by("content").aggregate([("image_id", "min")])
        joined = images.join(originals, "content").rename_columns(["content", *_NAMES])
        copies = joined.filter(pc.not_equal(joined["image_id"], joined["original"]))
        copies = copies.select(_NAMES).cast(DUPLICATE_SCHEMA)
        stats = new_stats()
        count(stats, "images_duplicate", copies.num_rows)
        examples = [f"{row['image_id']} = {row['original']}" for row in copies.to_pylist()]
        note(stats, "images_duplicate", examples)
        yield TaggedOutput(self.STATS, stats)
        if copies.num_rows:
            yield TaggedOutput(self.DUPLICATES, to_bytes(copies))


def original_ids(images: pa.StringArray, duplicates: Iterable[bytes]) -> pa.StringArray:
    """Replace ids of duplicates by those of their originals.

    Args:
        images: ids [n].
        duplicates: outputs of `FindDuplicates`.

    Returns:
        ids [n].
    """
    known = from_bytes(duplicates, DUPLICATE_SCHEMA).combine_chunks()
    at = pc.index_in(images, known["image_id"].combine_chunks())
    return pc.coalesce(known["original"].combine_chunks().take(at), images)
