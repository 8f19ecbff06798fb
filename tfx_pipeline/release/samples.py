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
from tfx_pipeline.release.signatures import read_signatures
from vl_models.errors import UserError
from vl_models.input.patterns import in_folder
from vl_models.members import (
    ENCODE_IMAGE_TOKENS,
    IMAGE_2_BYTES,
    IMAGE_BYTES,
    IMAGE_FEATURES,
    MEMBERS,
    QUERY,
    TEXT_FEATURES,
    TOKENS,
)


@dataclasses.dataclass(frozen=True)
class SampleExample:
    """An image with its encoded bytes and, in the Examples of a split, its queries.

    `encoded_2` is the second image of a pair, where the data have pairs. Of data without images
    and texts, their features, else these are empty. Tokens are a model's own, see
    `with_image_tokens`.
    """

    image_id: str
    encoded: bytes
    queries: tuple[str, ...]
    encoded_2: bytes = b""
    image_features: tuple[float, ...] = ()
    text_features: tuple[float, ...] = ()
    image_tokens: np.ndarray | None = None  # float16 [T, W]


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


def with_image_tokens(model: Path, samples: Sequence[SampleExample]) -> list[SampleExample]:
    """Return samples with the tokens that a model reads of their images, if it reads such.

    Args:
        model: SavedModel folder of a member.
        samples: those without an image stay as they are.
    """
    if ENCODE_IMAGE_TOKENS not in read_signatures(model) or not any(s.encoded for s in samples):
        return list(samples)
    import tensorflow as tf
    import tensorflow_text  # noqa: F401 -- registers the tokeniser's ops

    encoded = tf.constant([sample.encoded for sample in samples if sample.encoded])
    loaded = tf.saved_model.load(str(model))
    tokens = iter(loaded.signatures[ENCODE_IMAGE_TOKENS](image_bytes=encoded)[TOKENS].numpy())
    return [
        dataclasses.replace(sample, image_tokens=next(tokens)) if sample.encoded else sample
        for sample in samples
    ]


_VALUES: dict[str, Callable[[SampleExample], Any]] = {
    QUERY: lambda sample: next(iter(sample.queries), ""),
    TOKENS: lambda sample: () if sample.image_tokens is None else sample.image_tokens,
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
        Strings, float32 [B, d] of features, or float16 [B, T, W] of tokens, by input; nothing if
        no sample has all of them.

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
    columns = list(zip(*(row for row in rows if all(len(value) for value in row))))
    return {name: _batch(column) for name, column in zip(inputs, columns)}


def _batch(column: Sequence[Any]) -> Any:
    if isinstance(column[0], np.ndarray):
        return np.stack(column)
    return np.array(column, np.float32) if isinstance(column[0], tuple) else list(column)
