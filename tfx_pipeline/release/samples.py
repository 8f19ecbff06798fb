"""A few real queries and images, for checks and warm-up."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import pyarrow.parquet as pq

from tfx_pipeline.data.writers import read_records


@dataclasses.dataclass(frozen=True)
class SampleExample:
    """An image with its encoded bytes and, in the Examples of a split, its queries.

    Of data without images and texts, their features, else these are empty.
    """

    image_id: str
    encoded: bytes
    queries: tuple[str, ...]
    image_features: tuple[float, ...] = ()
    text_features: tuple[float, ...] = ()


def sample_queries(relevance_path: Path, count: int) -> list[str]:
    """Distinct queries spread evenly over the sorted file, so over lengths and languages."""
    queries = sorted(set(pq.read_table(relevance_path, columns=["query"])["query"].to_pylist()))
    step = max(1, len(queries) // count)
    return queries[::step][:count]


def sample_examples(pattern: str, count: int) -> list[SampleExample]:
    """The first Examples of the record files (GZIP) that match a pattern."""
    import tensorflow as tf

    from vl_models import features

    records = itertools.chain.from_iterable(map(read_records, sorted(tf.io.gfile.glob(pattern))))
    samples = []
    for record in itertools.islice(records, count):
        example = record.features.feature
        samples.append(
            SampleExample(
                example[features.IMAGE_ID].bytes_list.value[0].decode("utf-8"),
                next(iter(example[features.IMAGE_ENCODED].bytes_list.value), b""),
                tuple(
                    text.decode("utf-8") for text in example[features.QUERY_TEXT].bytes_list.value
                ),
                tuple(example[features.IMAGE_FEATURES].float_list.value),
                tuple(example[features.QUERY_FEATURES].float_list.value),
            )
        )
    return samples
