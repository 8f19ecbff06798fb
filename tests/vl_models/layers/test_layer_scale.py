import numpy as np

from tests.harness import run_layer_test
from vl_models.layers.layer_scale import LayerScale

X = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)


def test_layer_contract(tmp_path):
    run_layer_test(LayerScale, {"initial": 0.5}, [X], folder=tmp_path, output_shape=X.shape)


def test_channels_have_factors_of_their_own():
    layer = LayerScale(0.1)
    np.testing.assert_allclose(layer(X), 0.1 * X, rtol=1e-6)
    layer.scale.assign([1.0, 2.0, 3.0, 4.0])
    np.testing.assert_allclose(layer(X), X * [1, 2, 3, 4], rtol=1e-6)
