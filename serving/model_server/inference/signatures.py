"""What the kinds of inference have in common: signature names, method names, words for errors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2

from serving.model_server.models.model import DEFAULT_SIGNATURE

# tensorflow/cc/saved_model/signature_constants.h
PREDICT_METHOD = "tensorflow/serving/predict"
CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"


def signature_name(model_spec: Any) -> str:
    """Return the signature that a ModelSpec means."""
    return model_spec.signature_name or DEFAULT_SIGNATURE


def fill_model_spec(answered: Any, asked: Any, version: int) -> None:
    """Write which model, version and signature answered into the ModelSpec of a response."""
    answered.name = asked.name
    answered.version.value = version
    answered.signature_name = signature_name(asked)


def braces(names: Iterable[str]) -> str:
    """`{a,b}`, sorted: how TensorFlow Serving lists names."""
    return "{" + ",".join(sorted(names)) + "}"


def shape_text(array: np.ndarray) -> str:
    """`[2,3]`: TensorShape::DebugString."""
    return "[" + ",".join(map(str, array.shape)) + "]"


def type_text(array: np.ndarray) -> str:
    """`DT_FLOAT`: DataType_Name."""
    return types_pb2.DataType.Name(tf.as_dtype(array.dtype).as_datatype_enum)


def as_array(value: Any) -> np.ndarray:
    """A fetched value as an array; NumPy alone would cut zero bytes off the end of a scalar."""
    return np.array(value, dtype=object) if isinstance(value, bytes) else np.asarray(value)
