"""The input of Classify, Regress and MultiInference: serialised tf.Examples."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.errors import invalid
from serving.model_server.inference.signatures import as_array, fill_model_spec, signature_name
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


@dataclass(frozen=True)
class ExamplesTask:
    """Classify or Regress: what a signature must have for it, and what becomes of its outputs.

    Attributes:
        api: what the runtime is recorded as.
        noun: what the task is called in messages and in names of fields.
        method_name: with which signatures are exported for it.
        response: class of the answers.
        outputs: names of the outputs that it takes.
        output_counts: how many outputs the signature may have.
        wrong_count: message where it has another number, which is formatted in.
        no_outputs: message where it has none of `outputs`; the signature is formatted in.
        fill: (signature, number of examples, arrays by tensor name, result message) writes what
            the outputs say into the message; StatusError where they have another form.
    """

    api: str
    noun: str
    method_name: str
    response: Callable[[], Any]
    outputs: tuple[str, ...]
    output_counts: tuple[int, ...]
    wrong_count: str
    no_outputs: str
    fill: Callable[[Any, int, Mapping[str, np.ndarray], Any], None]

    def run(
        self,
        model: Model,
        version: int,
        request: Any,
        *,
        deadline: float | None = None,
        check_method_name: bool = False,
    ) -> Any:
        """Answer `request` with the signature that it names, run on its examples.

        Args:
            model: loaded.
            version: of the model, for the answer.
            request: ClassificationRequest or RegressionRequest.
            deadline: seconds of `time.monotonic()` by which the answer is wanted.
            check_method_name: whether the signature must have been exported for this task.

        Raises:
            StatusError: INVALID_ARGUMENT, no such signature, one of another form, no examples, or
                outputs of another form; or what the graph raised.
        """
        name = signature_name(request.model_spec)
        if name not in model.signatures:
            raise invalid(f"No signature was found with the name: {name}")
        signature = model.signatures[name]
        tensor, fetches = self.tensors(signature, check_method_name)
        examples = serialized_examples(request.input)
        start = time.perf_counter()
        values = model.run({tensor: examples}, fetches, deadline=deadline)
        record_runtime(request.model_spec.name, self.api, start)
        response = self.response()
        fill_model_spec(response.model_spec, request.model_spec, version)
        arrays = dict(zip(fetches, map(as_array, values)))
        self.fill(signature, len(examples), arrays, response.result)
        return response

    def tensors(self, signature: Any, check_method_name: bool) -> tuple[str, list[str]]:
        """Names of the input tensor and of the output tensors of a signature for this task.

        Raises:
            StatusError: INVALID_ARGUMENT, the signature does not have one input `inputs`, or other
                outputs than the task takes.
        """
        if check_method_name and signature.method_name != self.method_name:
            raise invalid(
                f"Expected {self.noun} signature method_name to be {self.method_name}. "
                f"Was: {signature.method_name}"
            )
        if len(signature.inputs) != 1:
            raise invalid("Expected one input Tensor.")
        if len(signature.outputs) not in self.output_counts:
            raise invalid(self.wrong_count.format(len(signature.outputs)))
        if INPUTS not in signature.inputs:
            raise invalid(f"No {self.noun} inputs found in SignatureDef: {signature}")
        fetches = [signature.outputs[n].name for n in self.outputs if n in signature.outputs]
        if not fetches:
            raise invalid(self.no_outputs.format(signature))
        return signature.inputs[INPUTS].name, fetches
