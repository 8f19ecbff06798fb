import numpy as np
import tensorflow as tf

from tests.harness import run_layer_test
from vl_models.layers.pixel_norm import PixelNormalization

ARGUMENTS = {"mean": (0.5, 0.25, 0.0), "standard_deviation": (0.5, 0.25, 1.0)}
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3)).astype(np.uint8)


def test_layer_contract(tmp_path):
    run_layer_test(
        PixelNormalization, ARGUMENTS, [IMAGES], folder=tmp_path, output_shape=(2, 4, 4, 3)
    )


def test_closed_form_for_integers_and_floats():
    layer = PixelNormalization(**ARGUMENTS)
    expected = (IMAGES / 255.0 - [0.5, 0.25, 0.0]) / [0.5, 0.25, 1.0]
    np.testing.assert_allclose(layer(IMAGES), expected, atol=1e-5)
    np.testing.assert_allclose(layer(tf.cast(IMAGES, tf.float32)), expected, atol=1e-5)
