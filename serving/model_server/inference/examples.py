"""The input of Classify, Regress and MultiInference: serialised tf.Examples."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from serving.errors import invalid
from serving.model_server.inference.signatures import as_array, signature_name
from serving.model_server.models.model import Model
from serving.model_server.monitoring.metrics import record_runtime

# The name of the input that takes them: tensorflow/cc/saved_model/signature_constants.h
INPUTS = "inputs"


def serialized_examples(source: Any) -> np.ndarray:
    """The examples of an Input as object[N] of bytes, each merged into the context if there is one.

    Merging is by protobuf's rule that serialised messages may be concatenated: a feature of the
    example replaces one of the context.

    Raises:
        StatusError: INVALID_ARGUMENT, no examples.
    """
    kind = source.WhichOneof("kind")
    context = b""
    if kind == "example_list_with_context":
        context = source.example_list_with_context.context.SerializeToString()
    examples = getattr(source, kind).examples if kind else ()
    if not examples:
        raise invalid("Input is empty.")
    array = np.empty(len(examples), dtype=object)
    array[:] = [context + example.SerializeToString() for example in examples]
    return array


def run_on_examples(
    model: Model,
    request: Any,
    api: str,
    find_tensors: Callable[[Any, bool], tuple[str, list[str]]],
    *,
    deadline: float | None,
    check_method_name: bool,
) -> tuple[Any, int, dict[str, np.ndarray]]:
    """Runs the signature that a Classify or Regress request names on its examples.

    Args:
        model: what runs it.
        request: names the signature, and holds the examples.
        api: what the runtime is recorded as.
        find_tensors: (signature, check_method_name) to the names of the input and output tensors.
        deadline: seconds of `time.monotonic()` by which the answer is wanted.
        check_method_name: whether the signature must have been exported for this API.

    Returns:
        The signature, the number of examples, and the output arrays by tensor name.

    Raises:
        StatusError: INVALID_ARGUMENT, no such signature, no examples, or what `find_tensors`
            refuses; or what the graph raised.
    """
    name = signature_name(request.model_spec)
    if name not in model.signatures:
        raise invalid(f"No signature was found with the name: {name}")
    signature = model.signatures[name]
    tensor, fetches = find_tensors(signature, check_method_name)
    examples = serialized_examples(request.input)
    start = time.perf_counter()
    values = model.run({tensor: examples}, fetches, deadline=deadline)
    record_runtime(request.model_spec.name, api, start)
    return signature, len(examples), dict(zip(fetches, map(as_array, values)))
