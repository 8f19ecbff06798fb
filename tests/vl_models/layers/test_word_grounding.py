import math

import numpy as np
import pytest
import tensorflow as tf

from tests.harness import run_layer_test
from vl_models.layers.word_grounding import WordGrounding

GRID, WIDTH = 3, 9
RANDOM = np.random.default_rng(0)
WORDS = RANDOM.normal(size=(2, 4, WIDTH)).astype(np.float32)
PATCHES = RANDOM.normal(size=(2, GRID**2, WIDTH)).astype(np.float32)
# Where the nine patches are, and what spread and extent are of a word that is like one alone.
COLUMNS, ROWS = np.tile([-2 / 3, 0, 2 / 3], 3), np.repeat([-2 / 3, 0, 2 / 3], 3)
ONE = [3 * 0.01 - 1.5, -1.0]


def seen_as_they_are(layer):
    """The shared space is that of the inputs; only places are added to words."""
    for projection in (layer.words, layer.patches):
        projection.kernel.assign(tf.eye(WIDTH))
    layer.temperature.log_scale.assign(math.log(100.0))
    layer.content.kernel.assign(tf.zeros([WIDTH, WIDTH]))
    layer.place.kernel.assign(tf.eye(4, WIDTH))
    return layer


@pytest.fixture
def layer():
    layer = WordGrounding(GRID, WIDTH)
    layer.build((None, None, WIDTH))
    return layer


def test_layer_contract(tmp_path):
    run_layer_test(
        WordGrounding,
        {"grid": GRID, "dim": 5},
        [WORDS, PATCHES],
        folder=tmp_path,
        output_shape=WORDS.shape,
    )


def test_a_word_gets_the_place_of_the_patch_that_is_like_it(layer):
    seen_as_they_are(layer)
    patches = np.eye(9, dtype=np.float32)[None]
    places = layer(patches, patches)[0, :, :4] - patches[0, :, :4]
    expected = [[1.5 * x, 1.5 * y, *ONE] for x, y in zip(COLUMNS, ROWS)]
    np.testing.assert_allclose(places, expected, atol=1e-5)


def test_a_word_that_is_like_no_patch_is_everywhere(layer):
    seen_as_they_are(layer)
    word = np.eye(9, dtype=np.float32)[None, :1]
    patches = np.tile(np.eye(9, dtype=np.float32)[None, 1:2], (1, 9, 1))
    spread = math.sqrt(np.mean(COLUMNS**2 + ROWS**2))
    expected = [0, 0, 3 * spread - 1.5, math.log(9) - 1]
    np.testing.assert_allclose(layer(word, patches)[0, 0, :4] - word[0, 0, :4], expected, atol=1e-5)


def test_a_word_gets_what_its_patches_hold(layer):
    weights = layer.attention(WORDS, PATCHES)
    np.testing.assert_allclose(tf.reduce_sum(weights, axis=-1), np.ones((2, 4)), rtol=1e-6)
    layer.place.kernel.assign(tf.zeros([4, WIDTH]))
    content = np.matmul(weights, PATCHES) @ layer.content.kernel.numpy()
    np.testing.assert_allclose(layer(WORDS, PATCHES), WORDS + content, atol=1e-5)


def test_attention_goes_by_the_cosine(layer):
    bigger = PATCHES * RANDOM.uniform(0.5, 2.0, (2, 9, 1)).astype(np.float32)
    np.testing.assert_allclose(
        layer.attention(WORDS, PATCHES), layer.attention(3.0 * WORDS, bigger), atol=1e-5
    )


def test_a_moved_picture_moves_the_place_alone(layer):
    """Columns turned by one: what a word sees stays, where it is does not."""
    moved = np.roll(PATCHES.reshape(2, 3, 3, WIDTH), 1, axis=2).reshape(2, 9, WIDTH)
    kernel = np.zeros((4, WIDTH), np.float32)
    kernel[1:, 1:4] = np.eye(3)  # not the column
    layer.place.kernel.assign(kernel * [[0], [1], [0], [1]])
    np.testing.assert_allclose(layer(WORDS, PATCHES), layer(WORDS, moved), atol=1e-5)
    kernel[0, 0] = 1.0
    layer.place.kernel.assign(kernel)
    assert np.abs(layer(WORDS, PATCHES)[..., 0] - layer(WORDS, moved)[..., 0]).max() > 0.1


def test_the_gradient_reaches_both_projections(layer):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(WORDS, PATCHES) ** 2)
    values = [layer.words.kernel.value, layer.patches.kernel.value]
    for gradient in tape.gradient(loss, values):
        assert np.any(gradient)
