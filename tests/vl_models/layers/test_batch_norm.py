import keras
import numpy as np
import tensorflow as tf

from tests.harness import run_layer_test, two_replicas
from vl_models.layers.batch_norm import BatchNorm

X = np.random.default_rng(0).normal(2.0, 3.0, size=(4, 3, 2, 5)).astype(np.float32)


def test_layer_contract(tmp_path):
    run_layer_test(BatchNorm, {"momentum": 0.8}, [X], folder=tmp_path, output_shape=X.shape)


def test_it_is_keras_layer_where_nothing_is_padding():
    ours, theirs = BatchNorm(), keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
    np.testing.assert_allclose(ours(X, training=True), theirs(X, training=True), atol=1e-5)
    np.testing.assert_allclose(ours.moving_mean, theirs.moving_mean, atol=1e-6)
    unbiased = 0.9 + 0.1 * X.reshape(-1, 5).var(axis=0, ddof=1)
    np.testing.assert_allclose(ours.moving_variance, unbiased, rtol=1e-5)
    expected = (X - ours.moving_mean) / np.sqrt(ours.moving_variance + 1e-5)
    np.testing.assert_allclose(ours(X), expected, atol=1e-5)


def test_padding_does_not_count():
    valid = np.zeros(X.shape[:-1], bool)
    valid[:, :2] = True
    whole, part = BatchNorm(), BatchNorm()
    spoilt = np.where(valid[..., None], X, 1e3)
    found = part(spoilt, valid=tf.constant(valid), training=True)
    expected = whole(X[:, :2], training=True)
    np.testing.assert_allclose(found[:, :2], expected, atol=1e-4)
    np.testing.assert_allclose(part.moving_variance, whole.moving_variance, rtol=1e-4)


def test_two_replicas_are_one_batch_for_values_gradients_and_statistics():
    one = BatchNorm()
    x = tf.constant(X)
    weight = tf.constant(np.random.default_rng(1).normal(size=X.shape), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(weight * one(x, training=True))
    expected = tape.gradient(loss, x)
    strategy = two_replicas()
    with strategy.scope():
        two = BatchNorm()
        two.build(X.shape)

    def part(values):
        return strategy.experimental_distribute_values_from_function(
            lambda context: values[2 * context.replica_id_in_sync_group :][:2]
        )

    @tf.function
    def run(x, weight):
        def replica(x, weight):
            with tf.GradientTape() as tape:
                tape.watch(x)
                loss = tf.reduce_sum(weight * two(x, training=True))
            # As in the trainer, where every replica has the same global loss.
            return tape.gradient(loss, x)

        return strategy.run(replica, args=(x, weight))

    found = strategy.experimental_local_results(run(part(x), part(weight)))
    np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-5)
    np.testing.assert_allclose(two.moving_variance.numpy(), one.moving_variance.numpy(), rtol=1e-5)
