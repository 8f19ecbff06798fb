import numpy as np
import tensorflow as tf

from tests.harness import run_layer_test
from vl_models.layers.gradient_reversal import GradientReversal, reversal_schedule

INPUTS = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


def test_layer_contract(tmp_path):
    run_layer_test(
        GradientReversal, {"strength": 0.5}, [INPUTS], folder=tmp_path, output_shape=(3, 4)
    )


def test_schedule_golden_values(golden):
    for progress, strength in golden["grl_schedule"].items():
        np.testing.assert_allclose(reversal_schedule(float(progress)), strength, atol=1e-8)


def test_forward_is_the_identity_and_backward_follows_the_variable_in_a_compiled_step():
    layer = GradientReversal()
    x = tf.constant(INPUTS)
    np.testing.assert_array_equal(layer(x), INPUTS)

    @tf.function
    def gradient():
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x) * 3.0)
        return tape.gradient(loss, x)

    for strength in (0.0, 0.25, 1.0):
        layer.assign(strength)
        np.testing.assert_allclose(gradient(), np.full((3, 4), -3.0 * strength), rtol=1e-6)


def test_head_learns_and_features_unlearn():
    features, head = tf.Variable(INPUTS), tf.Variable(tf.ones([4, 1]))
    layer = GradientReversal(0.5)
    with tf.GradientTape(persistent=True) as tape:
        plain = tf.reduce_sum(tf.square(tf.matmul(features, head)))
        reversed_ = tf.reduce_sum(tf.square(tf.matmul(layer(features), head)))
    np.testing.assert_allclose(
        tape.gradient(reversed_, head), tape.gradient(plain, head), rtol=1e-6
    )
    np.testing.assert_allclose(
        tape.gradient(reversed_, features), -0.5 * tape.gradient(plain, features), rtol=1e-6
    )
