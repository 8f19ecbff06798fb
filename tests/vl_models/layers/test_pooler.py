import numpy as np

from tests.harness import run_layer_test
from vl_models.layers.pooler import Pooler

X = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)


def test_layer_contract(tmp_path):
    run_layer_test(Pooler, {}, [X], folder=tmp_path, output_shape=(2, 4))


def test_it_sees_the_first_token_alone():
    layer = Pooler()
    pooled = layer(X)
    kernel, bias = layer.dense.get_weights()
    np.testing.assert_allclose(pooled, np.tanh(X[:, 0] @ kernel + bias), rtol=1e-5)
