"""Rows as tf.Example, the input of Classify, Regress and MultiInference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serving import tensors
from serving.errors import ServingError

Row = Mapping[str, Any]
_INT64_MAX = np.iinfo(np.int64).max


def fill_input(message: Any, rows: Sequence[Row], context: Row | None) -> None:
    """Write rows, and the features that they have in common, into an Input.

    Values are str, bytes, numbers, or lists or arrays of them (row-major): str (as UTF-8) and bytes
    become a bytes list, integers and bools an int64 list, others a float list. An empty list is a
    feature without values.

    Raises:
        ServingError: a value that is no feature; names the row and the feature.
    """
    if context is None:
        examples = message.example_list
    else:
        examples = message.example_list_with_context
        _fill_example(examples.context, context, "the context")
    if isinstance(rows, str | bytes | Mapping):
        raise ServingError(
            "examples is a list of rows, each a mapping from features to values; one row is a list "
            f"of one. Received: {type(rows).__name__}."
        )
    # An empty list, too, is a list of examples.
    examples.SetInParent()
    for number, row in enumerate(rows):
        _fill_example(examples.examples.add(), row, f"row {number}")


def _fill_example(example: Any, row: Row, where: str) -> None:
    if not isinstance(row, Mapping):
        raise ServingError(
            f"A row is a mapping from features to values. Received: {where} is "
            f"{type(row).__name__}."
        )
    example.features.SetInParent()
    for name, value in row.items():
        feature = example.features.feature[name]
        try:
            _fill_feature(feature, value)
        except ServingError as error:
            raise ServingError(f"Feature {name} of {where}: {error}") from error


def _fill_feature(feature: Any, value: Any) -> None:
    array = tensors.as_array(value).ravel()
    if array.size == 0:
        return
    if array.dtype == object:
        feature.bytes_list.value.extend(array.tolist())
    elif array.dtype.kind in "biu":
        if array.dtype == np.uint64 and array.max() > _INT64_MAX:
            raise ServingError(f"An int64 list cannot hold {array.max()}.")
        feature.int64_list.value.extend(array.astype(np.int64).tolist())
    elif array.dtype.kind == "f" or array.dtype.name == "bfloat16":
        feature.float_list.value.extend(array.astype(np.float32).tolist())
    else:
        raise ServingError(
            "A feature holds str, bytes, integers or floats. "
            f"Received: an array of dtype {array.dtype}."
        )
