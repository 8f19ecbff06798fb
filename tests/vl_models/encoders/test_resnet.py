import numpy as np
import pytest
import tensorflow as tf

from tests.harness import run_layer_test
from vl_models.encoders.resnet import ResNetEncoder

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)


@pytest.mark.parametrize(("block", "width"), [("basic", 8), ("bottleneck", 32)])
def test_layer_contract(block, width, tmp_path):
    run_layer_test(
        ResNetEncoder,
        {"blocks": [1, 2], "block": block, "width": 4},
        [IMAGES],
        folder=tmp_path,
        output_shape={
            "hidden": (2, 16, width),
            "tokens": (2, 16, width),
            "pooled": (2, width),
        },
        policies=["float32"],
    )


def test_frozen_stages_keep_weights_and_statistics():
    encoder = ResNetEncoder([1, 1], width=4, frozen_stages=1)
    encoder(IMAGES)
    trained = {variable.path.split("/")[1] for variable in encoder.trainable_variables}
    assert trained == {"stage_1_block_0"}
    before = {v.path: v.numpy().copy() for v in encoder.non_trainable_variables}
    encoder(IMAGES, training=True)
    for variable in encoder.non_trainable_variables:
        moved = not np.array_equal(variable.numpy(), before[variable.path])
        assert moved == ("stage_1" in variable.path), variable.path


def test_what_is_beyond_the_picture_does_not_matter():
    encoder = ResNetEncoder([1, 1], width=4)
    extent = tf.constant([[16, 32], [32, 8]])
    garbage = IMAGES.copy()
    garbage[0, 16:], garbage[1, :, 8:] = 7, 200
    one, two = (encoder(images, extent=extent)["hidden"] for images in (IMAGES, garbage))
    np.testing.assert_allclose(one, two, atol=1e-6)
