import numpy as np
import pytest
import tensorflow as tf

from tests.harness import run_layer_test
from vl_models.layers.grid_neck import GridNeck

X = np.random.default_rng(0).normal(size=(2, 4, 6, 3)).astype(np.float32)


@pytest.mark.parametrize("convolve_first", [False, True])
def test_layer_contract(convolve_first, tmp_path):
    arguments = {"width": 8, "convolve_first": convolve_first}
    run_layer_test(GridNeck, arguments, [X], folder=tmp_path, output_shape=(2, 2, 3, 8))


def test_both_orders_with_the_same_kernel():
    """The largest of linear maps is not the linear map of the largest."""
    program, paper = GridNeck(4), GridNeck(4, convolve_first=True)
    program.build(X.shape)
    paper.build(X.shape)
    paper.convolution.kernel.assign(program.convolution.kernel)
    squares = X.reshape(2, 2, 2, 3, 2, 3)
    kernel = program.convolution.kernel.numpy()
    scale = 1 / np.sqrt(1 + 1e-5)
    np.testing.assert_allclose(program(X), squares.max((2, 4)) @ kernel * scale, atol=1e-5)
    np.testing.assert_allclose(paper(X), (squares @ kernel).max((2, 4)) * scale, atol=1e-5)
    assert np.abs(program(X) - paper(X)).max() > 0.1


def test_a_map_of_odd_sides_loses_the_last_row():
    assert GridNeck(8)(X[:, :3]).shape == (2, 1, 3, 8)
    assert GridNeck(8, pool=1)(X).shape == (2, 4, 6, 8)


def test_statistics_are_of_cells_within_the_picture():
    valid = tf.constant([[[True, True, False]] * 2] * 2)
    one, other = GridNeck(4), GridNeck(4)
    one.build(X.shape)
    other.build(X.shape)
    other.convolution.kernel.assign(one.convolution.kernel)
    one(X, valid=valid, training=True)
    other(X[:, :, :4], training=True)
    np.testing.assert_allclose(one.norm.moving_mean, other.norm.moving_mean, atol=1e-6)
