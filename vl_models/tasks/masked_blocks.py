"""Which patches of an image are to be guessed: rectangles, until enough patches are covered.

Bao et al., "BEiT: BERT Pre-Training of Image Transformers", section 2.3 and algorithm 1, in the
form of the released code, which differs: a block is tried at most ten times, and no more patches
are masked than wanted.
"""

from __future__ import annotations

import math

import tensorflow as tf

from vl_models.row_random import draw_uniform, stream_seed
from vl_models.tasks.fusion_config import MIMConfig, MMMConfig

_ATTEMPTS = 10
_DRAWS = 4  # of an attempt: area, ratio of sides, top, left
# BEiT's numbers, of a grid of 14 x 14.
_MASKED, _SMALLEST, _PATCHES = 75, 16, 196
_FALLBACK_STREAM = -1  # of rounds, which count from 0


def masked_patches(seeds: tf.Tensor, config: MIMConfig | MMMConfig, grid: int) -> tf.Tensor:
    """Choose patches as a configuration says; what it leaves open is in BEiT's proportion.

    Args:
        seeds: int32 [B, 2], all randomness of each row.
        config: of a task.
        grid: patches on a side of the image.

    Returns:
        bool [B, grid²].
    """
    patches = grid * grid
    return block_mask(
        seeds,
        (grid, grid),
        target=config.masked or max(1, round(_MASKED / _PATCHES * patches)),
        minimum=config.smallest_block or max(1, round(_SMALLEST / _PATCHES * patches)),
        aspect=config.aspect,
    )


def block_mask(
    seeds: tf.Tensor,
    grid: tuple[int, int],
    target: int = 75,
    minimum: int = 16,
    aspect: float = 0.3,
) -> tf.Tensor:
    """Cover patches by random rectangles until ``target`` are, or no rectangle fits any more.

    With r patches still to cover, the area of a block is uniform between ``minimum`` and r (also
    if r is the smaller one) and the logarithm of its ratio of sides between those of ``aspect``
    and its inverse. It has to be smaller than the grid in both directions and to cover one to r
    new patches; the first of ten attempts that does is taken. A row that nothing fits at all gets
    one random patch, so that each has something to guess.

    Args:
        seeds: int32 [B, 2], all randomness of each row.
        grid: height and width in patches.
        target: of 14 x 14 patches BEiT covers 75.
        minimum: smallest area of a block, as long as that many patches are wanted.
        aspect: smallest ratio of height to width, in (0, 1].

    Returns:
        bool [B, height · width], row by row; 1 to ``target`` True in each.

    Raises:
        ValueError: a target that the grid does not have, an empty block or another ratio.
    """
    height, width = grid
    if not (1 <= target <= height * width and minimum >= 1 and 0.0 < aspect <= 1.0):
        raise ValueError(
            "`target` must be one to all patches of `grid`, `minimum` positive and `aspect` in "
            f"(0, 1]. Received: grid={grid}, target={target}, minimum={minimum}, aspect={aspect}"
        )
    rows = tf.shape(seeds)[0]

    def add_block(
        index: tf.Tensor, mask: tf.Tensor, wanted: tf.Tensor, open_rows: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        """Give each open row one block more; a row that takes none is closed."""
        draws = draw_uniform(stream_seed(seeds, index), _ATTEMPTS * _DRAWS)
        area, ratio, top, left = tf.unstack(tf.reshape(draws, [-1, _DRAWS, _ATTEMPTS]), axis=1)
        area = minimum + area * (wanted - minimum)[:, None]
        ratio = tf.exp((1.0 - 2.0 * ratio) * math.log(aspect))
        vertical, fits_vertically = _intervals(tf.sqrt(area * ratio), top, height)
        horizontal, fits_horizontally = _intervals(tf.sqrt(area / ratio), left, width)
        new = tf.reduce_sum(tf.matmul(vertical, 1.0 - mask) * horizontal, axis=2)
        accepted = fits_vertically & fits_horizontally & (new > 0.0) & (new <= wanted[:, None])
        accepted &= open_rows[:, None]
        first = tf.argmax(accepted, axis=1, output_type=tf.int32)
        taken = tf.cast(tf.reduce_any(accepted, axis=1), tf.float32)
        block = _outer(
            tf.gather(vertical, first, batch_dims=1), tf.gather(horizontal, first, batch_dims=1)
        )
        mask = tf.maximum(mask, block * taken[:, None, None])
        wanted -= taken * tf.gather(new, first, batch_dims=1)
        return index + 1, mask, wanted, (taken > 0.0) & (wanted > 0.0)

    start = (
        tf.constant(0),
        tf.zeros([rows, height, width]),
        tf.fill([rows], float(target)),
        tf.ones([rows], tf.bool),
    )
    _, mask, wanted, _ = tf.while_loop(
        lambda index, mask, wanted, open_rows: tf.reduce_any(open_rows),
        add_block,
        start,
        maximum_iterations=target,
        parallel_iterations=1,
    )
    drawn = draw_uniform(stream_seed(seeds, _FALLBACK_STREAM), 1)[:, 0]
    patch = tf.one_hot(tf.cast(drawn * (height * width), tf.int32), height * width)
    empty = wanted == float(target)
    return (tf.reshape(mask, [-1, height * width]) > 0.0) | (empty[:, None] & (patch > 0.0))


def _intervals(length: tf.Tensor, place: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Rounded lengths [B, A] at random places: 0/1 [B, A, size], and True where one fits."""
    length = tf.round(length)
    fits = length < size
    first = tf.floor(place * (size - length + 1.0))
    cells = tf.range(size, dtype=tf.float32)
    inside = (cells >= first[..., None]) & (cells < (first + length)[..., None])
    return tf.cast(inside, tf.float32), fits


def _outer(vertical: tf.Tensor, horizontal: tf.Tensor) -> tf.Tensor:
    return vertical[:, :, None] * horizontal[:, None, :]
