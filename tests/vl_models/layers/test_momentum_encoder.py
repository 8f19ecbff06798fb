import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.harness import two_replicas
from vl_models.encoders.vit import ViTEncoder
from vl_models.layers.momentum_encoder import MomentumEncoder

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3)).astype(np.uint8)


def make_tower():
    """An encoder with parameters alone, and a layer with batch statistics."""
    encoder = ViTEncoder(4, 8, 1, 2, name="image_encoder")
    norm = keras.layers.BatchNormalization(name="norm")
    norm(encoder(IMAGES)["pooled"])
    return encoder, norm


def make_momentum(momentum=0.9):
    tower = make_tower()
    momentum = MomentumEncoder(tower, momentum)
    momentum.build()
    return tower, momentum


def variables(layers):
    return {v.path: v for layer in layers for v in layer.variables}


def test_twins_start_equal_under_names_of_their_own_and_are_not_trained():
    tower, momentum = make_momentum()
    queries, keys = variables(tower), variables(momentum.layers)
    assert set(keys) == {"momentum_" + path for path in queries}
    for path, query in queries.items():
        np.testing.assert_array_equal(keys["momentum_" + path], query)
    assert [layer.trainable_variables for layer in momentum.layers] == [[], []]
    assert all(layer.trainable_variables for layer in tower)
    encoded = [encoder(IMAGES)["pooled"] for encoder in (tower[0], momentum.layers[0])]
    np.testing.assert_array_equal(*encoded)


def test_average_has_the_closed_form():
    tower, momentum = make_momentum(momentum=0.9)
    start = {path: v.numpy() for path, v in variables(momentum.layers).items()}
    for variable in variables(tower).values():
        variable.assign(variable + 1.0)
    for _ in range(7):
        momentum.update()
    for path, query in variables(tower).items():
        key, first = variables(momentum.layers)["momentum_" + path], start["momentum_" + path]
        if "moving" in path:  # batch statistics are its own
            np.testing.assert_array_equal(key, first)
        else:
            np.testing.assert_allclose(key, 0.9**7 * first + (1 - 0.9**7) * query, atol=1e-6)


def test_equal_weights_stay_equal():
    tower, momentum = make_momentum(momentum=0.999)
    momentum.update()
    for path, query in variables(tower).items():
        np.testing.assert_array_equal(variables(momentum.layers)["momentum_" + path], query)


def test_twin_normalises_by_its_own_batch_statistics_in_training():
    tower, momentum = make_momentum()
    features = tf.constant(np.random.default_rng(1).normal(3.0, 2.0, (16, 8)), tf.float32)
    output = momentum.layers[1](features, training=True)
    np.testing.assert_allclose(tf.reduce_mean(output, axis=0), 0.0, atol=1e-5)
    moved = variables(momentum.layers)["momentum_norm/moving_mean"].numpy()
    assert np.all(moved > 0.0)
    np.testing.assert_array_equal(variables(tower)["norm/moving_mean"], 0.0)


def test_loaded_queries_are_copied_unless_the_twin_was_loaded_too():
    tower, momentum = make_momentum()
    for variable in variables(tower).values():
        variable.assign(variable + 1.0)
    queries, keys = variables(tower), variables(momentum.layers)
    positions, kernel = "image_encoder/patch_embedding/positions", "norm/gamma"
    before = {path: v.numpy() for path, v in keys.items()}
    loaded = {positions, "norm/moving_mean", kernel, "momentum_" + kernel}
    momentum.synchronise(loaded)
    for path, key in keys.items():
        if path in ("momentum_" + positions, "momentum_norm/moving_mean"):
            np.testing.assert_array_equal(key, queries[path.removeprefix("momentum_")])
        else:
            np.testing.assert_array_equal(key, before[path])


def test_update_in_replica_context_is_equal_on_all_replicas():
    strategy = two_replicas()
    with strategy.scope():
        tower, momentum = make_momentum()
    for variable in variables(tower).values():
        variable.assign(variable + 1.0)
    start = {path: v.numpy() for path, v in variables(momentum.layers).items()}

    @tf.function(autograph=False)
    def step():
        strategy.run(momentum.update)

    step()
    for path, key in variables(momentum.layers).items():
        query = variables(tower)[path.removeprefix("momentum_")].numpy()
        if "moving" in path:
            continue
        for copy in strategy.experimental_local_results(key.value):
            np.testing.assert_allclose(copy, 0.9 * start[path] + 0.1 * query, atol=1e-6)


def test_momentum_is_a_share():
    with pytest.raises(ValueError, match=r"Received: momentum=1\.5"):
        MomentumEncoder([], 1.5)
