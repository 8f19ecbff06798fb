import numpy as np
import pytest
import tensorflow as tf

from vl_models.layers.sine_positions import sine_positions


def by_hand(row, column, rows, columns, width):
    values = []
    for number, last in ((row + 1, rows), (column + 1, columns)):
        angle = 2 * np.pi * number / (last + 1e-6)
        for place in range(width // 2):
            wave = angle / 10_000 ** (2 * (place // 2) / (width // 2))
            values.append(np.cos(wave) if place % 2 else np.sin(wave))
    return values


def test_row_then_column_of_the_part_that_is_no_padding():
    valid = np.zeros((2, 4, 5), bool)
    valid[0] = True
    valid[1, :2, :3] = True
    found = sine_positions(tf.constant(valid), 8)
    assert found.shape == (2, 4, 5, 8)
    np.testing.assert_allclose(found[0, 2, 1], by_hand(2, 1, 4, 5, 8), atol=1e-5)
    np.testing.assert_allclose(found[1, 1, 2], by_hand(1, 2, 2, 3, 8), atol=1e-5)
    # The last cell of a small picture is where that of a large one is.
    np.testing.assert_allclose(found[1, 1, 2], found[0, 3, 4], atol=1e-4)


def test_a_width_that_has_no_two_halves_of_pairs_is_refused():
    with pytest.raises(ValueError, match="Received: width=6"):
        sine_positions(tf.ones([1, 2, 2], tf.bool), 6)
