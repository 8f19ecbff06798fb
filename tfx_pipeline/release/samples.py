"""A few real queries and images, for checks and warm-up."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from tfx_pipeline.data.writers import read_records
from vl_models.errors import UserError
from vl_models.input.patterns import in_folder
from vl_models.members import (
    IMAGE_2_BYTES,
    IMAGE_BYTES,
    IMAGE_FEATURES,
    MEMBERS,
    QUERY,
    TEXT_FEATURES,
)


@dataclasses.dataclass(frozen=True)
class SampleExample:
    """An image with its encoded bytes and, in the Examples of a split, its queries.

    `encoded_2` is the second image of a pair, where the data have pairs.
    Of data without images and texts, their features, else these are empty.
    """

    image_id: str
    encoded: bytes
    queries: tuple[str, ...]
    encoded_2: bytes = b""
    image_features: tuple[float, ...] = ()
    text_features: tuple[float, ...] = ()


def sample_queries(relevance_path: Path, count: int) -> list[str]:
    """Distinct queries spread evenly over the sorted file, so over lengths and languages."""
    queries = sorted(set(pq.read_table(relevance_path, columns=["query"])["query"].to_pylist()))
    step = max(1, len(queries) // count)
    return queries[::step][:count]


def sample_examples(pattern: str, count: int) -> list[SampleExample]:
    """Return the first Examples of the record files (GZIP) that match a pattern."""
    import tensorflow as tf

    from vl_models import features

    files = sorted(tf.io.gfile.glob(in_folder(pattern)))
    records = itertools.chain.from_iterable(map(read_records, files))
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
                next(iter(example[features.IMAGE_2_ENCODED].bytes_list.value), b""),
                tuple(example[features.IMAGE_FEATURES].float_list.value),
                tuple(example[features.QUERY_FEATURES].float_list.value),
            )
        )
    return samples


_VALUES: dict[str, Callable[[SampleExample], Any]] = {
    QUERY: lambda sample: next(iter(sample.queries), None),
    IMAGE_BYTES: lambda sample: sample.encoded,
    IMAGE_2_BYTES: lambda sample: sample.encoded_2 or sample.encoded,
    IMAGE_FEATURES: lambda sample: sample.image_features,
    TEXT_FEATURES: lambda sample: sample.text_features,
}


def sample_inputs(
    model: str, inputs: Sequence[str], samples: Sequence[SampleExample]
) -> dict[str, Any]:
    """Return a batch for a signature, of the samples that have all that it reads.

    Args:
        model: name of the member.
        inputs: names of the signature's inputs.
        samples: where the rows come from.

    Returns:
        Strings, or float32 [B, d] of features, by input; nothing if no sample has all of them.

    Raises:
        UserError: an input that samples hold nothing for.
    """
    member = MEMBERS.get(model)
    kinds = [member.features if name == "features" and member else name for name in inputs]
    unknown = [name for name, kind in zip(inputs, kinds) if kind not in _VALUES]
    if unknown:
        raise UserError(
            f"{model}: there are no samples for the input(s) {', '.join(unknown)}, so this model "
            f"can be neither warmed up nor checked. Known are {', '.join(_VALUES)}."
        )
    rows = [[_VALUES[kind](sample) for kind in kinds] for sample in samples]
    columns = list(zip(*(row for row in rows if all(row))))
    return {
        name: np.array(column, np.float32) if isinstance(column[0], tuple) else list(column)
        for name, column in zip(inputs, columns)
    }
