import numpy as np

from tests.harness import run_layer_test
from vl_models.layers.type_vector import TypeVector

X = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)


def test_layer_contract(tmp_path):
    run_layer_test(TypeVector, {}, [X], folder=tmp_path, output_shape=X.shape)


def test_all_tokens_get_the_same_vector():
    layer = TypeVector()
    np.testing.assert_allclose(layer(X) - X, np.broadcast_to(layer.vector, X.shape), atol=1e-6)
