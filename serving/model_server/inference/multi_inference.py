"""MultiInference: several classifications and regressions of the same examples in one session run.

The rules and texts are those of tensorflow_serving/servables/tensorflow/multi_inference.cc.
"""

from __future__ import annotations

from typing import Any

from tensorflow_serving.apis import inference_pb2

from serving.errors import Code, StatusError, invalid
from serving.model_server.inference.classify import CLASSIFY
from serving.model_server.inference.examples import serialized_examples
from serving.model_server.inference.regress import REGRESS
from serving.model_server.inference.signatures import as_array, fill_model_spec, signature_name
from serving.model_server.models.model import Model
from serving.model_server.monitoring.metrics import record_examples

_KINDS = {kind.method_name: kind for kind in (CLASSIFY, REGRESS)}


def run_multi_inference(
    model: Model,
    version: int,
    request: inference_pb2.MultiInferenceRequest,
    *,
    deadline: float | None = None,
    check_method_name: bool = False,
) -> inference_pb2.MultiInferenceResponse:
    """Run the tasks of `request`, which share its examples, at once; result i is that of task i.

    Args:
        model: what runs it.
        version: number of the model's version, for the answer.
        request: the tasks, and their examples.
        deadline: seconds of `time.monotonic()` by which the answer is wanted.
        check_method_name: whether the signatures must have been exported for their task.

    Raises:
        StatusError: INVALID_ARGUMENT, tasks of several models, a signature twice, unknown or of
            another form, no examples, or outputs of another form; UNIMPLEMENTED, a task that is
            neither; or what the graph raised.
    """
    if not request.tasks:
        raise invalid("Must specify at least one target to fetch or execute.")
    inputs, fetches = _tensors(model, request.tasks, check_method_name)
    examples = serialized_examples(request.input)
    values = model.run(dict.fromkeys(inputs, examples), fetches, deadline=deadline)
    record_examples(request.tasks[0].model_spec.name, len(examples))
    outputs = dict(zip(fetches, map(as_array, values)))

    response = inference_pb2.MultiInferenceResponse()
    for task in request.tasks:
        signature = model.signatures[signature_name(task.model_spec)]
        result = response.results.add()
        kind = _KINDS[task.method_name]
        kind.fill(signature, len(examples), outputs, getattr(result, f"{kind.noun}_result"))
        fill_model_spec(result.model_spec, task.model_spec, version)
    return response


def _tensors(model: Model, tasks: Any, check_method_name: bool) -> tuple[list[str], list[str]]:
    """Names of all input and output tensors of the tasks, each once and sorted."""
    names: set[str] = set()
    inputs: set[str] = set()
    fetches: set[str] = set()
    for task in tasks:
        if not task.model_spec.name:
            raise invalid("Found ModelSpec with an empty model name.")
        if task.model_spec.name != tasks[0].model_spec.name:
            raise invalid(
                "All ModelSpecs in a MultiInferenceRequest must access the same model name."
            )
        name = signature_name(task.model_spec)
        if name in names:
            raise invalid(f"Duplicate evaluation of signature: {name}")
        names.add(name)
        if name not in model.signatures:
            raise invalid(f"Requested signature not found in model graph: {name}")
        if task.method_name not in _KINDS:
            raise StatusError(
                Code.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method_name}"
            )
        kind = _KINDS[task.method_name]
        tensor, outputs = kind.tensors(model.signatures[name], check_method_name)
        inputs.add(tensor)
        fetches.update(outputs)
    return sorted(inputs), sorted(fetches)
