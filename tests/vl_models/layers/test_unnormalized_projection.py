import numpy as np

from tests.harness import run_layer_test
from vl_models.layers.unnormalized_projection import UnnormalizedProjection

INPUTS = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


def test_layer_contract(tmp_path):
    for activation in ("tanh", "linear"):
        run_layer_test(
            UnnormalizedProjection,
            {"dim": 5, "activation": activation},
            [INPUTS],
            folder=tmp_path,
            output_shape=(3, 5),
            output_dtype="float32",
        )


def test_codes_are_not_normalised():
    layer = UnnormalizedProjection(5, "tanh")
    once, twice = layer(INPUTS), layer(2 * INPUTS)
    kernel, bias = (v.numpy() for v in layer.variables)
    np.testing.assert_allclose(twice, np.tanh(2 * INPUTS @ kernel + bias), atol=1e-6)
    assert not np.allclose(once, twice)
