import numpy as np

from tests.harness import run_layer_test
from vl_models.layers.bias import Bias

LOGITS = np.array([[1.0, -2.0], [0.0, 4.0]], np.float32)


def test_layer_contract(tmp_path):
    run_layer_test(
        Bias, {"initial": -1.0}, [LOGITS], folder=tmp_path, output_shape=(2, 2),
        output_dtype="float32",
    )  # fmt: skip


def test_adds_its_number():
    np.testing.assert_array_equal(Bias(-10.0)(LOGITS), LOGITS - 10.0)
