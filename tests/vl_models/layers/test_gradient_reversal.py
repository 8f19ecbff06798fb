import numpy as np
import pytest
import tensorflow as tf

from tests.harness import run_layer_test, two_replicas
from vl_models.layers.gradient_reversal import GradientReversal

INPUTS = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


def constant(strength):
    return {"kind": "constant", "maximum": strength}


def test_layer_contract(tmp_path):
    run_layer_test(
        GradientReversal,
        {"schedule": constant(0.5)},
        [INPUTS],
        folder=tmp_path,
        output_shape=(3, 4),
    )


def test_forward_is_the_identity_and_backward_follows_the_counters_in_a_compiled_step():
    layer = GradientReversal({"kind": "warmup", "instances": 100})
    x = tf.constant(INPUTS)
    np.testing.assert_array_equal(layer(x), INPUTS)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x) * 3.0)
        gradient = tape.gradient(loss, x)
        layer.count(tf.constant(25))
        return gradient

    for strength in (0.0, 0.25, 0.5, 0.75, 1.0, 1.0):
        np.testing.assert_allclose(step(), np.full((3, 4), -3.0 * strength), rtol=1e-6)


def test_dann_follows_the_share_of_the_training():
    layer = GradientReversal()
    layer(INPUTS)
    layer.start(1000)
    layer.count(tf.constant(250))
    assert float(layer.strength()) == pytest.approx(0.84828364, abs=1e-6)


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
def test_head_learns_and_features_unlearn(dtype):
    features, head = tf.Variable(INPUTS), tf.Variable(tf.ones([4, 1]))
    layer = GradientReversal(constant(0.5), dtype=dtype.name)

    def loss(change):
        product = tf.matmul(change(tf.cast(features, dtype)), tf.cast(head, dtype))
        return tf.reduce_sum(tf.square(tf.cast(product, tf.float32)))

    with tf.GradientTape(persistent=True) as tape:
        plain, reversed_ = loss(tf.identity), loss(layer)
    np.testing.assert_allclose(
        tape.gradient(reversed_, head), tape.gradient(plain, head), rtol=1e-6
    )
    np.testing.assert_allclose(
        tape.gradient(reversed_, features), -0.5 * tape.gradient(plain, features), rtol=1e-6
    )


def test_replicas_count_together():
    strategy = two_replicas()
    with strategy.scope():
        layer = GradientReversal()
        layer.build()
    for _ in range(3):
        strategy.run(tf.function(lambda: layer.count(tf.constant(8))))
    copies = strategy.experimental_local_results(layer.seen.value)
    assert [int(copy) for copy in copies] == [24, 24]
