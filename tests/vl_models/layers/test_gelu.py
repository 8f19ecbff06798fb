import numpy as np
import pytest
import tensorflow as tf

from vl_models.layers.gelu import exact_gelu, get_activation, quick_gelu

POINTS = np.linspace(-6, 6, 101).astype(np.float32)


def test_values_and_gradient_are_those_of_the_exact_form():
    x = tf.constant(POINTS)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        ours, theirs = exact_gelu(x), tf.nn.gelu(x, approximate=False)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(tape.gradient(ours, x), tape.gradient(theirs, x), atol=1e-6)


def test_upstream_gradient_is_multiplied_inside_a_graph():
    x = tf.constant([0.5, -1.0])

    @tf.function
    def gradient():
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(exact_gelu(x) * [2.0, -3.0])
        return tape.gradient(y, x)

    with tf.GradientTape() as tape:
        tape.watch(x)
        plain = tf.reduce_sum(tf.nn.gelu(x, approximate=False))
    np.testing.assert_allclose(gradient(), [2.0, -3.0] * tape.gradient(plain, x), rtol=1e-5)


def test_bfloat16_is_rounded_once_at_the_end():
    x = tf.cast(POINTS, tf.bfloat16)
    exact = tf.nn.gelu(tf.cast(x, tf.float32), approximate=False)
    assert exact_gelu(x).dtype == tf.bfloat16
    np.testing.assert_allclose(tf.cast(exact_gelu(x), tf.float32), exact, rtol=2**-8, atol=1e-6)


def test_quick_gelu():
    x = tf.constant(POINTS)
    expected = POINTS / (1 + np.exp(-1.702 * POINTS))
    np.testing.assert_allclose(quick_gelu(x), expected, rtol=1e-6, atol=1e-6)


def test_unknown_activation_is_named():
    with pytest.raises(ValueError, match="Received: activation='swish'"):
        get_activation("swish")
