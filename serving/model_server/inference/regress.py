"""Regress: tf.Examples in, one value for each out.

The rules and texts are those of tensorflow_serving/servables/tensorflow/regressor.cc.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorflow_serving.apis import regression_pb2

from serving.errors import invalid
from serving.model_server.inference.examples import ExamplesTask
from serving.model_server.inference.signatures import REGRESS_METHOD, shape_text, type_text

OUTPUTS = "outputs"


def fill_regressions(
    signature: Any, examples: int, outputs: Mapping[str, np.ndarray], result: Any
) -> None:
    """Write `outputs` (arrays by tensor name) into a RegressionResult.

    Args:
        signature: SignatureDef of the regression.
        examples: how many examples were asked for.
        outputs: arrays by tensor name.
        result: the message that is filled.

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


REGRESS = ExamplesTask(
    api="Regress",
    noun="regression",
    method_name=REGRESS_METHOD,
    response=regression_pb2.RegressionResponse,
    outputs=(OUTPUTS,),
    output_counts=(1,),
    wrong_count="Expected one output Tensor.",
    no_outputs="No regression outputs found in SignatureDef: {}",
    fill=fill_regressions,
)
