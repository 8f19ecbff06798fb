import numpy as np
import pytest
import tensorflow as tf

from tests.harness import run_layer_test
from vl_models.layers.patch_embedding import PatchEmbedding

IMAGES = np.random.default_rng(0).normal(size=(2, 8, 12, 3)).astype(np.float32)


@pytest.mark.parametrize(("class_token", "tokens"), [(True, 7), (False, 6)])
def test_layer_contract(class_token, tokens, tmp_path):
    run_layer_test(
        PatchEmbedding,
        {"patch_size": 4, "width": 5, "class_token": class_token},
        [IMAGES],
        folder=tmp_path,
        output_shape=(2, tokens, 5),
    )


def test_projection_is_a_strided_convolution():
    layer = PatchEmbedding(4, 5)
    tokens = layer(IMAGES) - layer.positions
    kernel = tf.reshape(layer.kernel, (4, 4, 3, 5))
    convolved = tf.nn.conv2d(IMAGES, kernel, strides=4, padding="VALID")
    np.testing.assert_allclose(tokens[:, 1:], tf.reshape(convolved, (2, 6, 5)), atol=1e-5)
    np.testing.assert_allclose(tokens[:, 0], [layer.class_vector] * 2, atol=1e-6)


def test_patches_must_tile_the_image():
    with pytest.raises(ValueError, match="Received: image 8 x 12, patch_size=5"):
        PatchEmbedding(5, 4)(IMAGES)
