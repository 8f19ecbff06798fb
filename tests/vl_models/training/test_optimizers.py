import keras
import numpy as np
import pytest
import tensorflow as tf

from vl_models.errors import UserError
from vl_models.training.config import OptimizerConfig, TrainConfig
from vl_models.training.optimizers import build_groups, clip_by_global_norm, reduce_gradients
from vl_models.training.schedules import ScheduleConfig


def dense():
    layer = keras.layers.Dense(2, name="tower", kernel_initializer="ones", bias_initializer="ones")
    layer.build([None, 3])
    return layer


def groups(layer, *configs):
    return build_groups(
        "", [OptimizerConfig(**c) for c in configs], layer.weights, ScheduleConfig()
    )


def test_first_matching_optimizer_owns_a_variable():
    made = groups(dense(), {"kind": "sgd", "variables": ["*/bias"]}, {"kind": "adamw"})
    assert [[v.path for v in g.variables] for g in made] == [["tower/bias"], ["tower/kernel"]]
    assert [g.name for g in made] == ["sgd_0", "adamw_1"]


def test_an_optimizer_without_variables_is_an_error():
    with pytest.raises(UserError, match=r"'sgd_1' gets no variable: none matches \['head/\*'\]"):
        groups(dense(), {}, {"kind": "sgd", "variables": ["head/*"]})


@pytest.mark.parametrize("kind", ["adamw", "sgd", "adam", "lamb"])
def test_decoupled_weight_decay_spares_biases(kind):
    layer = dense()
    (group,) = groups(layer, {"kind": kind, "learning_rate": 0.1, "weight_decay": 0.5})
    zeros = [tf.zeros(v.shape) for v in layer.weights]
    group.optimizer.apply(zeros, layer.weights)
    # a zero gradient moves nothing, so only the decay 1 - 0.1 * 0.5 is left
    np.testing.assert_allclose(layer.kernel, np.full((3, 2), 0.95), rtol=1e-6)
    np.testing.assert_array_equal(layer.bias, np.ones(2))


def test_the_short_form_means_one_optimizer():
    short = {"learning_rate": 0.01, "weight_decay": 0.0, "betas": (0.5, 0.999)}
    (found,) = TrainConfig(steps=1, optimizer="adam", **short).resolved_optimizers()
    assert found == OptimizerConfig(name="adam", kind="adam", **short)
    layer = dense()
    (group,) = groups(layer, found.model_dump(exclude={"variables"}))
    assert group.optimizer.beta_1 == 0.5 and group.optimizer.beta_2 == 0.999


def test_factors_of_the_learning_rate_are_optimizers_of_their_own():
    factors = {"*/bias": 10.0, "head/*": 0.1}
    train = TrainConfig(steps=1, learning_rate=0.02, learning_rate_factors={"*/bias": 10.0})
    bias, rest = groups(dense(), *(one.model_dump() for one in train.resolved_optimizers()))
    assert [(g.name, g.config.learning_rate) for g in (bias, rest)] == [
        ("adamw_0", pytest.approx(0.2)),
        ("adamw", 0.02),
    ]
    assert [v.path for v in bias.variables] == ["tower/bias"]
    assert bias.config.betas == rest.config.betas
    with pytest.raises(ValueError, match="put learning_rate_factors into their learning rates"):
        TrainConfig(steps=1, optimizers=[{}], learning_rate_factors=factors)


def test_clipping_scales_to_the_global_norm():
    gradients = [tf.constant([3.0]), tf.constant([[4.0]])]
    clipped, norm = clip_by_global_norm(gradients, 1.0)
    assert float(norm) == pytest.approx(5.0)
    assert [float(tf.squeeze(g)) for g in clipped] == pytest.approx([0.6, 0.8])
    same, _ = clip_by_global_norm(gradients, 6.0)
    assert [float(tf.squeeze(g)) for g in same] == [3.0, 4.0]
    zero, norm = clip_by_global_norm([tf.zeros(2)], 1.0)
    assert float(norm) == 0.0 and zero[0].numpy().tolist() == [0.0, 0.0]


@pytest.mark.gpu
def test_the_optimizer_applies_the_sum_over_replicas_once(strategies):
    strategy = strategies[2]
    with strategy.scope():
        layer = dense()
        (group,) = groups(layer, {"kind": "sgd", "learning_rate": 1.0, "momentum": 0.0})

    @tf.function
    def step():
        def replica():
            place = tf.distribute.get_replica_context().replica_id_in_sync_group
            mine = [tf.fill(v.shape, tf.cast(place + 1, tf.float32)) for v in layer.weights]
            group.optimizer.apply(reduce_gradients(mine), layer.weights)

        strategy.run(replica)

    step()
    for variable in layer.weights:  # 1 - (1 + 2)
        for copy in strategy.experimental_local_results(variable.value):
            np.testing.assert_array_equal(copy, np.full(variable.shape, -2.0))
