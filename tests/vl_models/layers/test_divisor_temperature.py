import numpy as np
import pytest

from tests.harness import run_layer_test
from vl_models.layers.divisor_temperature import DivisorTemperature

COSINES = np.array([[1.0, -0.5], [0.0, 0.25]], np.float32)


def test_layer_contract(tmp_path):
    run_layer_test(
        DivisorTemperature, {"initial": 0.5}, [COSINES], folder=tmp_path, output_shape=(2, 2),
        output_dtype="float32",
    )  # fmt: skip


def test_divides():
    np.testing.assert_allclose(DivisorTemperature(0.25)(COSINES), 4.0 * COSINES)


def test_comes_back_from_below_its_bound():
    layer = DivisorTemperature(1.0, minimum=0.01)
    layer.build()
    layer.sigma.assign(-1.0)
    layer.clamp()
    np.testing.assert_allclose(layer.scale(), 100.0, rtol=1e-6)


def test_bounds_must_fit():
    with pytest.raises(ValueError, match=r"Received: initial=0.5, minimum=0.6"):
        DivisorTemperature(0.5, minimum=0.6)
