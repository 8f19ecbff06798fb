import keras
import numpy as np

from tests.harness import run_layer_test
from vl_models.layers.answer_head import AnswerHead

X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


def test_layer_contract(tmp_path):
    arguments = {"answers": 5, "hidden_width": 8}
    run_layer_test(
        AnswerHead, arguments, [X], folder=tmp_path, output_shape=(3, 5), output_dtype="float32"
    )


def test_linear_norm_gelu_linear():
    layer = AnswerHead(2, 6)
    found = layer(X)
    kernel, bias = layer.hidden.get_weights()
    hidden = X @ kernel + bias
    hidden = (hidden - hidden.mean(1, keepdims=True)) / np.sqrt(hidden.var(1, keepdims=True) + 1e-5)
    kernel, bias = layer.scores.get_weights()
    expected = keras.activations.gelu(hidden, approximate=False) @ kernel + bias
    np.testing.assert_allclose(found, expected, atol=1e-5)
