"""Classify: tf.Examples in, classes with labels and scores out.

The rules and texts are those of tensorflow_serving/servables/tensorflow/classifier.cc.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorflow_serving.apis import classification_pb2

from serving.errors import invalid
from serving.model_server.inference.examples import ExamplesTask
from serving.model_server.inference.signatures import CLASSIFY_METHOD, shape_text, type_text

CLASSES = "classes"
SCORES = "scores"


def fill_classifications(
    signature: Any, examples: int, outputs: Mapping[str, np.ndarray], result: Any
) -> None:
    """Write `outputs` (arrays by tensor name) into a ClassificationResult.

    Args:
        signature: SignatureDef of the classification.
        examples: how many examples were classified.
        outputs: arrays by tensor name.
        result: the message that is filled.

    Raises:
        StatusError: INVALID_ARGUMENT, arrays that are not string[N, C] and float32[N, C].
    """
    arrays = {
        key: outputs[signature.outputs[key].name]
        for key in (CLASSES, SCORES)
        if key in signature.outputs
    }
    for key, array in arrays.items():
        _check_output(key, "DT_STRING" if key == CLASSES else "DT_FLOAT", array, examples)
    widths = [array.shape[1] for array in arrays.values()]
    if widths[0] != widths[-1]:
        raise invalid(
            f"Tensors class and score should match in dim_size(1). Got {widths[0]} vs. {widths[-1]}"
        )
    lists = {key: array.tolist() for key, array in arrays.items()}
    for i in range(examples):
        classes = result.classifications.add().classes
        for c in range(widths[0]):
            item = classes.add()
            if CLASSES in lists:
                item.label = lists[CLASSES][i][c].decode("utf-8", "replace")
            if SCORES in lists:
                item.score = lists[SCORES][i][c]


def _check_output(key: str, dtype: str, array: np.ndarray, examples: int) -> None:
    if array.ndim != 2:
        raise invalid(
            f"Expected Tensor shape: [batch_size num_classes] but got {shape_text(array)}"
        )
    if type_text(array) != dtype:
        raise invalid(f"Expected {key} Tensor of {dtype}. Got: {type_text(array)}")
    if len(array) != examples:
        raise invalid(f"Expected {key} output batch size of {examples}. Got: {len(array)}")


CLASSIFY = ExamplesTask(
    api="Classify",
    noun="classification",
    method_name=CLASSIFY_METHOD,
    response=classification_pb2.ClassificationResponse,
    outputs=(CLASSES, SCORES),
    output_counts=(1, 2),
    wrong_count="Expected one or two output Tensors, found {}",
    no_outputs=f'Expected classification signature outputs to contain at least one of "{CLASSES}" '
    f'or "{SCORES}". Signature was: {{}}',
    fill=fill_classifications,
)
