import math

import numpy as np
import pytest
import tensorflow as tf

from tests.harness import run_layer_test
from vl_models.layers.temperature import Temperature

COSINES = np.array([[0.5, -1.0]], np.float32)


def test_layer_contract(tmp_path):
    run_layer_test(
        Temperature,
        {"initial": 0.1, "minimum_scale": 0.5, "maximum_scale": 50.0},
        [COSINES],
        folder=tmp_path,
        output_shape=(1, 2),
        output_dtype="float32",
    )


def test_starts_at_clips_temperature():
    layer = Temperature()
    np.testing.assert_allclose(layer(COSINES), COSINES / 0.07, rtol=1e-6)
    assert float(layer.log_scale) == pytest.approx(2.65926, abs=1e-5)


@pytest.mark.parametrize(("log_scale", "expected"), [(9.0, math.log(100)), (-1.0, 0.0), (3.0, 3.0)])
def test_clamp_moves_the_log_scale_between_its_bounds(log_scale, expected):
    layer = Temperature()
    layer.build()
    layer.log_scale.assign(log_scale)
    layer.clamp()
    assert float(layer.log_scale) == pytest.approx(expected)


def test_gradient_survives_at_the_bound():
    layer = Temperature(initial=0.01)
    layer.build()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(COSINES))
    np.testing.assert_allclose(tape.gradient(loss, layer.log_scale.value), -50.0, rtol=1e-5)


def test_initial_value_must_lie_between_the_bounds():
    with pytest.raises(ValueError, match=r"initial=0\.001"):
        Temperature(initial=0.001)
