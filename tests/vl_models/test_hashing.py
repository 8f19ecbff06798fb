import faiss
import numpy as np
import pytest
import tensorflow as tf

from vl_models.hashing import direction, hamming_distances, pack, sign, unpack


def test_zero_is_positive():
    values = tf.constant([[-0.5, 0.0, 2.0, -1e-9]])
    assert sign(values).numpy().tolist() == [[-1, 1, 1, -1]]


def test_the_first_bit_is_the_least_significant():
    values = -np.ones((2, 16), np.float32)
    values[0, 0] = values[1, 9] = 1.0
    assert pack(tf.constant(values)).numpy().tolist() == [[1, 0], [0, 2]]


def test_packing_loses_nothing_but_the_magnitude():
    values = np.random.default_rng(0).normal(size=(5, 24)).astype(np.float32)
    np.testing.assert_array_equal(unpack(pack(tf.constant(values)).numpy()), sign(values))


def test_distances_of_equal_and_opposite_codes_and_those_of_faiss():
    values = np.random.default_rng(1).normal(size=(9, 32)).astype(np.float32)
    codes = pack(tf.constant(values)).numpy()
    opposite = pack(tf.constant(-values)).numpy()
    distances = hamming_distances(codes, codes)
    assert (np.diag(distances) == 0).all() and (
        np.diag(hamming_distances(codes, opposite)) == 32
    ).all()
    index = faiss.IndexBinaryFlat(32)
    index.add(codes)
    found, rows = index.search(codes, 9)
    np.testing.assert_array_equal(found, np.take_along_axis(distances, rows, axis=1))


def test_directions_have_norm_one_even_of_nothing():
    found = direction(tf.constant([[3.0, 0.0, 4.0, 0.0], [0.0, 0.0, 0.0, 0.0]])).numpy()
    np.testing.assert_allclose(found, [[0.6, 0, 0.8, 0], [0.5, 0.5, 0.5, 0.5]], rtol=1e-6)


def test_bits_come_in_bytes():
    with pytest.raises(ValueError, match=r"multiple of 8\. Received: 12"):
        pack(tf.zeros([1, 12]))
