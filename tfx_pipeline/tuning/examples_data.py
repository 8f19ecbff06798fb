"""Gallery and known clicks, as the evaluation reads them, from Examples alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import tensorflow as tf

from tfx_pipeline.data import writers
from tfx_pipeline.training.sources import TRAIN, VALIDATION, split_pattern
from vl_models import features
from vl_models.input.records import find_shards, read_records

_GALLERY_FEATURES = (features.IMAGE_ID, features.IMAGE_ENCODED, features.LABEL_TEXT)


def write_evaluation_data(examples: Path, out: Path) -> None:
    """Write `gallery/` and `relevance.parquet` of the splits train and val, once.

    The gallery holds the images with a click in these splits; those of train are known
    positives, taken out of the ranks when val is evaluated, as in the evaluation of a release.

    Args:
        examples: folder of the Examples.
        out: gets both; relevance.parquet is written last and stands for the rest.
    """
    relevance = out / "relevance.parquet"
    if relevance.is_file():
        return
    (out / "gallery").mkdir(parents=True, exist_ok=True)
    tables: list[pa.Table] = []
    seen: set[bytes] = set()
    with writers.record_writer(str(out / "gallery" / writers.shard_name(0, 1))) as gallery:
        for split in (TRAIN, VALIDATION):
            for record in read_records(find_shards([split_pattern(examples, split)])):
                example = tf.train.Example.FromString(record.numpy())
                content = example.features.feature
                image_id = content[features.IMAGE_ID].bytes_list.value[0]
                tables.append(_clicks(content, image_id.decode("utf-8"), split))
                if image_id not in seen:
                    seen.add(image_id)
                    gallery.write(_gallery_record(content))
    writers.write_table(str(relevance), writers.RELEVANCE_SCHEMA, [pa.concat_tables(tables)])


def _clicks(content: Any, image_id: str, split: str) -> pa.Table:
    """Return the image's queries as rows of the relevance table."""

    def texts(name: str) -> list[str]:
        return [value.decode("utf-8") for value in content[name].bytes_list.value]

    queries = texts(features.QUERY_TEXT)
    rows = len(queries)
    columns: dict[str, list[Any]] = {
        "query": queries,
        "image_id": [image_id] * rows,
        "clicks": list(content[features.QUERY_CLICKS].int64_list.value),
        "weight": list(content[features.QUERY_WEIGHT].float_list.value),
        "split": [split] * rows,
        "language": texts(features.QUERY_LANGUAGE),
        "correlation": texts(features.QUERY_CORRELATION),
    }
    schema = writers.RELEVANCE_SCHEMA
    return pa.table(
        {name: columns.get(name) or [None] * rows for name in schema.names}, schema=schema
    )


def _gallery_record(content: Any) -> bytes:
    kept = {name: content[name] for name in _GALLERY_FEATURES if name in content}
    return tf.train.Example(features=tf.train.Features(feature=kept)).SerializeToString()
