import numpy as np
import pytest
import tensorflow as tf

from vl_models.layers.visual_embedding import VisualEmbedding, resized_positions

GRID, WIDTH = 4, 6
FEATURES = tf.constant(np.random.default_rng(0).normal(size=(3, GRID**2, 5)), tf.float32)
SEEDS = tf.constant([[1, 2], [3, 4], [5, 6]])


def make(**arguments):
    return VisualEmbedding(WIDTH, GRID, name="embedding", **arguments)


def test_a_whole_grid_keeps_its_positions():
    positions = tf.random.stateless_normal((GRID**2, WIDTH), seed=(1, 2))
    resized = resized_positions(positions, tf.constant([[GRID, GRID]]))
    np.testing.assert_allclose(resized[0], positions, atol=1e-6)


def test_corners_are_aligned_and_places_between_are_interpolated():
    table = tf.reshape(tf.range(16.0), (GRID, GRID))[..., None]
    positions = tf.reshape(table, (16, 1))
    found = tf.reshape(resized_positions(positions, tf.constant([[3, 2]])), (GRID, GRID))
    # Rows 0, 1.5 and 3 of the table, columns 0 and 3; nothing beyond the part.
    expected = np.zeros((GRID, GRID))
    expected[:3, :2] = [[0, 3], [6, 9], [12, 15]]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_one_row_or_column_is_the_first_of_the_table():
    positions = tf.random.stateless_normal((GRID**2, WIDTH), seed=(1, 2))
    found = resized_positions(positions, tf.constant([[1, 1]]))
    np.testing.assert_allclose(found[0, 0], positions[0])
    assert not np.any(found[0, 1:])


def test_what_is_beyond_the_extent_is_masked_and_changes_nothing():
    layer, extent = make(), tf.constant([[4, 4], [2, 3], [1, 4]])
    tokens, mask = layer(FEATURES, extent=extent)
    inside = np.asarray(mask)[:, 1:].reshape(3, GRID, GRID)
    for row, (height, width) in enumerate(extent.numpy()):
        expected = np.zeros((GRID, GRID), bool)
        expected[:height, :width] = True
        np.testing.assert_array_equal(inside[row], expected)
    garbage = tf.where(mask[:, 1:, None], FEATURES, 99.0)
    again, _ = layer(garbage, extent=extent)
    np.testing.assert_array_equal(tf.boolean_mask(tokens, mask), tf.boolean_mask(again, mask))
    assert np.all(np.asarray(mask)[:, 0])  # the class token


def test_a_full_extent_is_a_square_image():
    layer = make()
    full = tf.fill((3, 2), GRID)
    for one, other in zip(layer(FEATURES), layer(FEATURES, extent=full)):
        np.testing.assert_allclose(tf.cast(one, tf.float32), tf.cast(other, tf.float32), atol=1e-5)


def test_training_samples_valid_patches_by_the_rows_seeds():
    layer, extent = make(maximum_tokens=6), tf.constant([[4, 4], [2, 2], [3, 3]])
    whole, _ = layer(FEATURES, extent=extent)
    tokens, mask = layer(FEATURES, extent=extent, seeds=SEEDS, training=True)
    assert tokens.shape == (3, 7, WIDTH)
    np.testing.assert_array_equal(np.sum(mask, axis=1), [7, 5, 7])
    for row in range(3):
        kept = tokens[row][np.asarray(mask[row])]
        # Without replacement, in reading order, each one of the row's own tokens.
        places = [int(np.argmin(np.abs(whole[row] - token).sum(axis=1))) for token in kept]
        assert places == sorted(set(places))
    again, _ = layer(FEATURES, extent=extent, seeds=SEEDS, training=True)
    np.testing.assert_array_equal(tokens, again)
    alone, _ = layer(FEATURES[1:2], extent=extent[1:2], seeds=SEEDS[1:2], training=True)
    np.testing.assert_allclose(alone[0], tokens[1], atol=1e-6)
    other, _ = layer(FEATURES, extent=extent, seeds=SEEDS + 1, training=True)
    assert np.any(np.asarray(other) != np.asarray(tokens))
    assert layer(FEATURES, extent=extent, seeds=SEEDS)[0].shape[1] == 1 + GRID**2


def test_sampling_needs_seeds():
    with pytest.raises(ValueError, match="Received: seeds=None"):
        make(maximum_tokens=6)(FEATURES, training=True)


def test_hidden_patches_have_no_influence_and_keep_their_places():
    layer = make(mask_token=True)
    masked = tf.constant(np.arange(16) % 3 == 0)[None] & tf.ones((3, 1), tf.bool)
    tokens, _ = layer(FEATURES, masked=masked)
    changed, _ = layer(tf.where(masked[:, :, None], 7.0, FEATURES), masked=masked)
    np.testing.assert_array_equal(tokens, changed)
    expected = layer.mask_vector + layer.grid_positions[0] + layer.type_vectors[1]
    np.testing.assert_allclose(tokens[0, 1], expected, atol=1e-6)
    nothing, _ = layer(FEATURES, masked=tf.zeros_like(masked))
    np.testing.assert_array_equal(nothing, layer(FEATURES)[0])


def test_the_second_image_of_a_pair_has_a_type_of_its_own():
    layer = make(types=3)
    first, second = layer(FEATURES)[0], layer(FEATURES, type_index=2)[0]
    difference = layer.type_vectors[2] - layer.type_vectors[1]
    np.testing.assert_allclose(second - first, tf.broadcast_to(difference, first.shape), atol=1e-5)
