import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.harness import two_replicas
from vl_models.layers.shuffled_batch import (
    encode_in_groups,
    encode_shuffled,
    has_batch_statistics,
)

ROWS = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
SEED = np.random.default_rng(1).integers(0, 1000, (8, 2)).astype(np.int32)


def centred(x):
    """A stand-in for batch normalisation: every row depends on its group."""
    return x - tf.reduce_mean(x, axis=0, keepdims=True)


def on_two_replicas(function, *values):
    """Run on halves of the values; the results side by side."""
    strategy = two_replicas()

    def local(context):
        half = slice(4 * context.replica_id_in_sync_group, 4 * context.replica_id_in_sync_group + 4)
        return tuple(tf.constant(value[half]) for value in values)

    arguments = strategy.experimental_distribute_values_from_function(local)

    @tf.function(autograph=False)
    def run():
        return strategy.run(lambda v: function(*v), args=(arguments,))

    return np.concatenate([x.numpy() for x in strategy.experimental_local_results(run())])


def test_groups_are_contiguous_rows():
    expected = np.concatenate([centred(ROWS[:4]), centred(ROWS[4:])])
    np.testing.assert_array_equal(encode_in_groups(centred, tf.constant(ROWS), 2), expected)
    np.testing.assert_array_equal(encode_in_groups(centred, tf.constant(ROWS), 1), centred(ROWS))
    with pytest.raises(ValueError, match="Received: 8 rows, virtual_devices=3"):
        encode_in_groups(centred, tf.constant(ROWS), 3)


def test_the_permutation_is_undone():
    shuffled = encode_shuffled(tf.identity, tf.constant(ROWS), tf.constant(SEED), groups=2)
    np.testing.assert_array_equal(shuffled, ROWS)
    np.testing.assert_array_equal(
        on_two_replicas(lambda x, seed: encode_shuffled(tf.identity, x, seed), ROWS, SEED), ROWS
    )


def test_groups_are_drawn_from_the_seeds():
    def groups(seed):
        sums = encode_shuffled(
            lambda x: tf.repeat(tf.reduce_sum(x[:, :1], axis=0, keepdims=True), len(x), axis=0),
            tf.constant(2.0 ** np.arange(8.0, dtype=np.float32)[:, None]),
            tf.constant(seed),
            groups=2,
        )
        return sorted({float(x) for x in sums.numpy()[:, 0]})

    first, others = groups(SEED), [groups(SEED + shift) for shift in range(1, 6)]
    assert sum(first) == 2.0**8 - 1  # two groups of four rows, that are all rows together
    assert [bin(int(group)).count("1") for group in first] == [4, 4]
    assert first == groups(SEED)
    assert any(first != other for other in others)


def test_two_replicas_group_as_two_virtual_devices_of_one():
    expected = encode_shuffled(centred, tf.constant(ROWS), tf.constant(SEED), groups=2)
    double = on_two_replicas(lambda x, seed: encode_shuffled(centred, x, seed), ROWS, SEED)
    np.testing.assert_allclose(double, expected, atol=1e-6)
    assert np.abs(expected - encode_in_groups(centred, tf.constant(ROWS), 2)).max() > 0.1


def test_pixels_cross_replicas_unchanged():
    pixels = np.arange(256, dtype=np.uint8).reshape(8, 32)

    def shuffled(x, seed):
        assert x.dtype == tf.uint8
        return encode_shuffled(lambda images: tf.cast(images, tf.float32), x, seed)

    np.testing.assert_array_equal(on_two_replicas(shuffled, pixels, SEED), pixels)


def test_only_moving_statistics_make_rows_see_each_other():
    norms = [keras.layers.BatchNormalization(), keras.layers.LayerNormalization()]
    for layer in norms:
        layer.build((None, 4))
    assert has_batch_statistics((norms[0],))
    assert not has_batch_statistics((norms[1],))
