"""Regress: tf.Examples in, one value for each out.

The rules and texts are those of tensorflow_serving/servables/tensorflow/regressor.cc.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorflow_serving.apis import regression_pb2

from serving.errors import invalid
from serving.model_server.inference.examples import INPUTS, run_on_examples
from serving.model_server.inference.signatures import (
    REGRESS_METHOD,
    fill_model_spec,
    shape_text,
    type_text,
)
from serving.model_server.models.model import Model

OUTPUTS = "outputs"


def run_regress(
    model: Model,
    version: int,
    request: regression_pb2.RegressionRequest,
    *,
    deadline: float | None = None,
    check_method_name: bool = False,
) -> regression_pb2.RegressionResponse:
    """Computes the value of each example of `request` with the signature that it names.

    Args:
        model: what runs it.
        version: number of the model's version, for the answer.
        request: names the signature, and holds the examples.
        deadline: seconds of `time.monotonic()` by which the answer is wanted.
        check_method_name: whether the signature must have been exported for Regress.

    Raises:
        StatusError: INVALID_ARGUMENT, no such signature, one of another form, no examples, or an
            output that is not one float per example; or what the graph raised.
    """
    signature, examples, outputs = run_on_examples(
        model,
        request,
        "Regress",
        regress_tensors,
        deadline=deadline,
        check_method_name=check_method_name,
    )
    response = regression_pb2.RegressionResponse()
    fill_model_spec(response.model_spec, request.model_spec, version)
    fill_regressions(signature, examples, outputs, response.result)
    return response


def regress_tensors(signature: Any, check_method_name: bool = False) -> tuple[str, list[str]]:
    """Names of the input tensor and of the one output tensor of a regression signature.

    Raises:
        StatusError: INVALID_ARGUMENT, the signature does not have one input `inputs` and one output
            `outputs`.
    """
    if check_method_name and signature.method_name != REGRESS_METHOD:
        raise invalid(
            f"Expected regression signature method_name to be {REGRESS_METHOD}. "
            f"Was: {signature.method_name}"
        )
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise invalid("Expected one output Tensor.")
    if INPUTS not in signature.inputs:
        raise invalid(f"No regression inputs found in SignatureDef: {signature}")
    if OUTPUTS not in signature.outputs:
        raise invalid(f"No regression outputs found in SignatureDef: {signature}")
    return signature.inputs[INPUTS].name, [signature.outputs[OUTPUTS].name]


def fill_regressions(
    signature: Any, examples: int, outputs: Mapping[str, np.ndarray], result: Any
) -> None:
    """Writes `outputs` (arrays by tensor name) into a RegressionResult.

    Args:
        signature: the SignatureDef that was run.
        examples: how many examples were asked for.
        outputs: of the model.
        result: an empty RegressionResult.

    Raises:
        StatusError: INVALID_ARGUMENT, an array that is neither float32[N] nor float32[N, 1].
    """
    array = outputs[signature.outputs[OUTPUTS].name]
    if array.ndim != 1 and not (array.ndim == 2 and array.shape[1] == 1):
        raise invalid(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            f"{shape_text(array)}"
        )
    if len(array) != examples:
        raise invalid(
            f"Input batch size did not match output batch size: {examples} vs. {len(array)}"
        )
    if type_text(array) != "DT_FLOAT":
        raise invalid(f"Expected output Tensor of DT_FLOAT.  Got: {type_text(array)}")
    for value in array.ravel().tolist():
        result.regressions.add(value=value)
