import numpy as np
import pytest
import tensorflow as tf

from tests.harness import run_layer_test
from vl_models.layers.multi_scale_patch_pooling import (
    MultiScalePatchPooling,
    grid_boxes,
    sampling_matrix,
)

TOKENS = np.random.default_rng(0).normal(size=(2, 17, 6)).astype(np.float32)


def test_layer_contract(tmp_path):
    run_layer_test(
        MultiScalePatchPooling,
        {"grids": [1, 3], "samples": 2},
        [TOKENS],
        folder=tmp_path,
        output_shape=(2, 10, 6),
    )


def test_grids_of_one_and_six_are_the_image_and_36_cells():
    boxes = grid_boxes((1, 6))
    assert boxes.shape == (37, 4)
    np.testing.assert_allclose(boxes[0], [0, 0, 1, 1])
    np.testing.assert_allclose(boxes[-1], [5 / 6, 5 / 6, 1, 1])
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    np.testing.assert_allclose(areas[1:].sum(), 1.0)


def test_samples_are_bilinear():
    """Of a map that is linear in its coordinates, a box's mean is the value at its centre."""
    side = 12
    centres = (np.arange(side) + 0.5) / side
    field = (2.0 * centres[:, None] - 3.0 * centres[None, :]).reshape(-1)
    boxes = grid_boxes((2, 3))
    inner = boxes.copy()
    inner[:, :2] += 0.05  # away from the border, where values are continued
    inner[:, 2:] -= 0.05
    means = sampling_matrix(inner, side, 4) @ field
    middle = (inner[:, :2] + inner[:, 2:]) / 2
    np.testing.assert_allclose(means, 2.0 * middle[:, 0] - 3.0 * middle[:, 1], atol=1e-5)
    np.testing.assert_allclose(sampling_matrix(boxes, 5, 3).sum(axis=1), 1.0, atol=1e-6)


def test_average_commutes_with_the_convolution():
    """As published: convolve each of the 4x4 samples, then average."""
    layer = MultiScalePatchPooling((1, 2), name="regions")
    pooled = layer(TOKENS[:, 1:])
    layer.convolution.bias.assign(np.arange(6.0))
    pooled = layer(TOKENS[:, 1:]).numpy()
    kernel, bias = layer.convolution.kernel.numpy(), layer.convolution.bias.numpy()
    for index, box in enumerate(grid_boxes((1, 2))):
        convolved = []
        for row in range(4):
            for column in range(4):
                height, width = box[2] - box[0], box[3] - box[1]
                top, left = box[0] + height * row / 4, box[1] + width * column / 4
                cell = np.array([[top, left, top + height / 4, left + width / 4]])
                sample = sampling_matrix(cell, 4, 1)[0] @ TOKENS[:, 1:]
                convolved.append(sample @ kernel + bias)
        np.testing.assert_allclose(pooled[:, index], np.mean(convolved, axis=0), atol=1e-5)


def test_a_class_token_is_left_out():
    layer = MultiScalePatchPooling((1, 2), name="regions")
    changed = TOKENS.copy()
    changed[:, 0] += 5.0
    np.testing.assert_array_equal(layer(TOKENS), layer(changed))


def test_tokens_must_form_a_square():
    with pytest.raises(ValueError, match="Received: 7 tokens"):
        MultiScalePatchPooling()(tf.zeros([1, 7, 4]))
    with pytest.raises(ValueError, match=r"Received: grids=\(\)"):
        MultiScalePatchPooling(())
