import numpy as np
import tensorflow as tf

from tests.harness import run_layer_test
from vl_models.layers.projection import Projection, l2_normalize

INPUTS = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


def test_layer_contract(tmp_path):
    run_layer_test(
        Projection,
        {"dim": 5},
        [INPUTS],
        folder=tmp_path,
        output_shape=(3, 5),
        output_dtype="float32",
    )


def test_norm_is_one_in_mixed_precision_too():
    embeddings = Projection(5, dtype="mixed_bfloat16")(INPUTS)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1.0, atol=1e-6)


def test_zero_vector_has_a_finite_value_and_gradient():
    x = tf.zeros([1, 4])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = l2_normalize(x)
        loss = tf.reduce_sum(y * [1.0, 2.0, 3.0, 4.0])
    np.testing.assert_array_equal(y, np.zeros((1, 4)))
    assert np.all(np.isfinite(tape.gradient(loss, x)))


def test_result_has_the_direction_of_the_input():
    np.testing.assert_allclose(l2_normalize([[3.0, 4.0]]), [[0.6, 0.8]], rtol=1e-6)
