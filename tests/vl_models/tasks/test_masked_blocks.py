import numpy as np
import pytest
import tensorflow as tf

from vl_models.tasks.masked_blocks import block_mask


def make_seeds(rows):
    drawn = np.random.default_rng(0).integers(-(2**31), 2**31, (rows, 2))
    return tf.constant(drawn, tf.int32)


SEEDS = make_seeds(2000)


def sampled(random, height, width, target, minimum, aspect=0.3):
    """One mask by the released generator's loop, one attempt after another."""
    mask = np.zeros((height, width), bool)
    while mask.sum() < target:
        wanted = target - mask.sum()
        for _ in range(10):
            area = minimum + random.uniform() * (wanted - minimum)
            ratio = np.exp(random.uniform(np.log(aspect), -np.log(aspect)))
            h, w = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
            if h >= height or w >= width:
                continue
            top, left = random.integers(0, height - h + 1), random.integers(0, width - w + 1)
            block = mask[top : top + h, left : left + w]
            if 0 < h * w - block.sum() <= wanted:
                block[:] = True
                break
        else:
            break
    return mask


def test_counts_on_the_published_grid(golden):
    expected = golden["beit_mask"]
    counts = np.sum(block_mask(SEEDS, (14, 14)), axis=1)
    assert expected["min"] - 4 <= counts.min() and counts.max() == expected["max"]
    assert counts.mean() == pytest.approx(expected["mean"], abs=0.1)
    assert np.mean(counts == 75) == pytest.approx(expected["frac_exact_75"], abs=0.045)


@pytest.mark.parametrize("grid, target, minimum", [((8, 8), 24, 6), ((4, 6), 8, 2)])
def test_is_distributed_like_the_released_loop(grid, target, minimum):
    masks = block_mask(SEEDS, grid, target, minimum).numpy().reshape(-1, *grid)
    random = np.random.default_rng(2)
    wanted = np.stack([sampled(random, *grid, target, minimum) for _ in range(2000)])
    # How often each place is masked, and how often it is together with the one right of it.
    for statistic in (lambda m: m, lambda m: m[:, :, 1:] & m[:, :, :-1]):
        np.testing.assert_allclose(
            np.mean(statistic(masks), axis=0), np.mean(statistic(wanted), axis=0), atol=0.065
        )
    counts = masks.sum(axis=(1, 2))
    assert counts.mean() == pytest.approx(wanted.sum(axis=(1, 2)).mean(), abs=0.1)


def test_rows_of_the_mask_are_rows_of_the_grid():
    # A block of one row of a grid of two is 1 to 5 wide, and never both rows.
    masks = block_mask(SEEDS[:200], (2, 6), 3, 3).numpy().reshape(-1, 2, 6)
    assert masks.any(axis=(0, 2)).all()
    widths = [len(np.flatnonzero(row)) for mask in masks for row in mask if row.any()]
    assert set(widths) <= {1, 2, 3}


@pytest.mark.parametrize(
    "grid, target, minimum",
    [((4, 4), 6, 2), ((8, 8), 24, 6), ((3, 5), 1, 16), ((1, 1), 1, 1), ((2, 2), 4, 1)],
)
def test_one_to_all_wanted_patches_are_masked(grid, target, minimum):
    counts = np.sum(block_mask(SEEDS, grid, target, minimum), axis=1)
    assert counts.min() >= 1 and counts.max() == target


def test_a_row_draws_the_same_in_any_batch():
    whole = block_mask(SEEDS[:50], (8, 8), 24, 6).numpy()
    np.testing.assert_array_equal(block_mask(SEEDS[7:9], (8, 8), 24, 6), whole[7:9])
    compiled = tf.function(lambda seeds: block_mask(seeds, (8, 8), 24, 6))
    np.testing.assert_array_equal(compiled(SEEDS[:50]), whole)
    assert len({tuple(row) for row in whole}) > 40


def test_wrong_options_are_named():
    for options in ({"target": 17}, {"target": 0}, {"target": 4, "minimum": 0}):
        with pytest.raises(ValueError, match=r"Received: grid=\(4, 4\), target="):
            block_mask(SEEDS, (4, 4), **options)
    with pytest.raises(ValueError, match=r"aspect=2\.0"):
        block_mask(SEEDS, (4, 4), 6, aspect=2.0)
