"""Positions of another grid or length."""

import numpy as np
import pytest

from vl_models.errors import UserError
from vl_models.layers.relative_position_bias import bias_indices, image_rows, text_rows
from vl_models.training.resizing import resize_offsets, resize_positions, resized


def test_a_linear_grid_stays_linear_inside():
    rows, columns = np.meshgrid(np.arange(4.0), np.arange(4.0), indexing="ij")
    grid = np.stack([rows, columns], -1).reshape(16, 2).astype(np.float32)
    resized = resize_positions(grid, 64, "grid").reshape(8, 8, 2)
    expected = (np.arange(8) + 0.5) / 2 - 0.5  # half-pixel centres
    np.testing.assert_allclose(resized[3:5, 3:5, 0], np.tile(expected[3:5, None], 2), atol=1e-5)
    np.testing.assert_allclose(resized[..., 0], resized[..., 1].T, atol=1e-5)


def test_a_constant_stays_constant_and_equal_length_is_untouched():
    constant = np.full((1, 9, 4), 0.5, np.float32)
    np.testing.assert_allclose(resize_positions(constant, 25, "grid"), 0.5, atol=1e-6)
    assert resized(constant, 9, "grid") is constant


def test_sequences_are_interpolated_linearly():
    values = np.arange(4, dtype=np.float32)[:, None] * [1.0, -2.0]
    resized = resize_positions(values, 8, "sequence")
    expected = np.clip((np.arange(8) + 0.5) / 2 - 0.5, 0, 3)
    np.testing.assert_allclose(resized, expected[:, None] * [1.0, -2.0], atol=1e-6)


def offsets(grid, function):
    """A table [rows, 2] of the function of rows and columns between patches, and three rows."""
    side = np.arange(2 * grid - 1.0) - (grid - 1)
    rows, columns = np.meshgrid(side, side, indexing="ij")
    values = np.stack([function(rows, columns), -function(rows, columns)], -1).reshape(-1, 2)
    return np.concatenate([values, [[7, 8], [9, 10], [11, 12]]]).astype(np.float32)


@pytest.mark.parametrize(("old", "new"), [(4, 7), (7, 4), (3, 9), (14, 24), (2, 5), (5, 2)])
def test_offsets_of_a_grid_reach_as_far_as_before(old, new):
    # The farthest offset stays the farthest one; what lies at 0 stays there.
    table = offsets(old, lambda rows, columns: np.hypot(rows, columns) / (old - 1) - columns)
    side = 2 * new - 1
    grid = resize_offsets(table, image_rows(new), "relative_grid")[:-3].reshape(side, side, 2)
    before = table[:-3].reshape(2 * old - 1, 2 * old - 1, 2)
    if new > 2 or old == 2:
        for corner in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
            np.testing.assert_allclose(grid[corner], before[corner], atol=1e-5)
    np.testing.assert_allclose(grid[new - 1, new - 1], before[old - 1, old - 1], atol=1e-5)
    np.testing.assert_allclose(grid[..., 1], -grid[..., 0], atol=1e-5)


def test_the_nearest_offset_keeps_its_distance():
    # 1 + q + q² = 6 and its spline: the published program's way, here of one linear axis.
    table = offsets(4, lambda rows, columns: rows)
    grid = resize_offsets(table, image_rows(7), "relative_grid")[:-3].reshape(13, 13, 2)
    rows = grid[:, 6, 0]
    np.testing.assert_allclose(rows[[0, 5, 6, 7, 12]], [-3, -1, 0, 1, 3], atol=1e-5)
    assert np.all(np.diff(rows) > 0)
    np.testing.assert_allclose(grid[..., 0], np.tile(rows[:, None], 13), atol=1e-5)


def test_the_class_tokens_rows_are_kept_and_numbers_stay_float32():
    table = offsets(3, lambda rows, columns: rows + columns)
    result = resize_offsets(table, image_rows(5), "relative_grid")
    np.testing.assert_array_equal(result[-3:], table[-3:])
    assert result.dtype == np.float32
    assert resized(table, image_rows(3), "relative_grid") is table


@pytest.mark.parametrize(("old", "new"), [(6, 4), (4, 7), (3, 3)])
def test_offsets_of_texts_keep_their_meaning(old, new):
    table = np.arange(text_rows(old), dtype=np.float32)[:, None]
    result = resize_offsets(table, text_rows(new), "relative_sequence")[:, 0]
    shared = min(old, new)
    np.testing.assert_array_equal(
        result[bias_indices(2, new, "text")[:shared, :shared] - image_rows(2) - 2],
        table[:, 0][bias_indices(2, old, "text")[:shared, :shared] - image_rows(2) - 2],
    )
    far = result[: new - 1]  # the key far before the query
    assert np.all(np.diff(far) >= 0)
    assert far[0] == (table[0, 0] if new >= old else table[old - new, 0])


def test_other_numbers_of_rows_are_refused():
    with pytest.raises(UserError, match="lengths 7 and 16"):
        resize_positions(np.zeros((7, 2), "f"), 16, "grid")
    for rows, kind, form in (
        (20, "relative_grid", r"\(2 g - 1\)² \+ 3 for g × g patches. Received: 20 and 28 rows"),
        (21, "relative_sequence", r"2 \(L - 1\) \+ 2 for texts of L tokens. Received: 21 and 28"),
    ):
        with pytest.raises(UserError, match=form):
            resize_offsets(np.zeros((rows, 2), "f"), 28, kind)
