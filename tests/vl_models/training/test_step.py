import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny

from vl_models.errors import UserError
from vl_models.training.config import OptimizerConfig, PhaseConfig
from vl_models.training.optimizers import build_groups
from vl_models.training.schedules import ScheduleConfig
from vl_models.training.selection import check_losses
from vl_models.training.step import Accumulators, compile_steps

STOP = tf.constant(0.0)


def batch(size=4, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "image": tf.constant(rng.integers(0, 256, (size, 4, 4, 3), dtype=np.uint8)),
        "token_ids": tf.constant(rng.integers(0, 50, (size, 6)), tf.int32),
        "text_mask": tf.ones([size, 6], tf.bool),
        "seed": tf.constant(rng.integers(0, 1000, (size, 2)), tf.int32),
    }


def build(strategy, phase, learning_rate=1.0, model_class=tiny.LinearDualEncoder, **options):
    """A model whose update is w - gradient (SGD without momentum at rate 1)."""
    sgd = OptimizerConfig(kind="sgd", learning_rate=learning_rate, momentum=0.0)
    with strategy.scope():
        model = model_class()
        model.build()
        groups = build_groups("", [sgd], model.trainable_variables, ScheduleConfig())
        if options.get("accumulation_steps", 1) > 1:
            options["accumulators"] = Accumulators(model.trainable_variables)
    phase = PhaseConfig.model_validate(phase)
    return model, compile_steps(model, strategy, phase, groups, **options)


def gradients(loss_of, *batches):
    """Plain gradients of a scalar of the freshly initialised model, by path."""
    model = tiny.LinearDualEncoder()
    model.build()
    with tf.GradientTape() as tape:
        total = sum(loss_of(model.losses(b, model.forward(b, True))) for b in batches)
    found = tape.gradient(total, [v.value for v in model.trainable_variables])
    return {
        v.path: np.zeros(v.shape) if g is None else tf.convert_to_tensor(g).numpy()
        for v, g in zip(model.trainable_variables, found)
    }


def moved(model):
    """Minus the change of each variable since initialisation: the gradient that was applied."""
    fresh = tiny.LinearDualEncoder()
    fresh.build()
    pairs = zip(fresh.trainable_variables, model.trainable_variables)
    return {old.path: old.numpy() - new.numpy() for old, new in pairs}


def assert_equal(left, right):
    assert left.keys() == right.keys()
    for path in left:
        np.testing.assert_allclose(left[path], right[path], atol=2e-6, err_msg=path)


def test_losses_count_once_by_default(strategies):
    model, steps = build(strategies[1], {})
    result = steps.update(batch(), STOP)
    expected = gradients(lambda losses: losses["contrastive"] + losses["adversary"], batch())
    assert_equal(moved(model), expected)
    norm = np.sqrt(sum(np.sum(g**2) for g in expected.values()))
    assert float(result["gradient_norm"]) == pytest.approx(norm, rel=1e-5)


def test_signed_weights_per_group_equal_gradient_reversal(strategies):
    """Descending in the head and ascending in the towers is a reversed gradient between."""
    reverse = 0.5
    model, steps = build(
        strategies[1],
        {"losses": {"contrastive": 1.0, "adversary": {"modality_head/*": 1.0, "*": -reverse}}},
    )
    steps.update(batch(), STOP)

    @tf.custom_gradient
    def reversal(x):
        return tf.identity(x), lambda upstream: -reverse * upstream

    class Reversed(tiny.LinearDualEncoder):
        def losses(self, batch, outputs):
            plain = super().losses(batch, outputs)["contrastive"]
            turned = {key: reversal(value) for key, value in outputs.items()}
            return {"total": plain + super().losses(batch, turned)["adversary"]}

    reference = Reversed()
    reference.build()
    with tf.GradientTape() as tape:
        total = reference.losses(batch(), reference.forward(batch(), True))["total"]
    found = tape.gradient(total, [v.value for v in reference.trainable_variables])
    expected = {
        v.path: tf.convert_to_tensor(g).numpy()
        for v, g in zip(reference.trainable_variables, found)
    }
    assert_equal(moved(model), expected)


@pytest.mark.gpu
@pytest.mark.parametrize("replicas", [1, 2])
def test_accumulated_microbatches_give_the_gradient_of_the_mean(strategies, replicas):
    strategy = strategies[replicas]
    model, steps = build(strategy, {}, accumulation_steps=3)
    batches = [batch(seed=seed) for seed in range(3)]

    def distribute(whole):
        if replicas == 1:
            return whole
        parts = {key: tf.split(value, 2) for key, value in whole.items()}
        return strategy.experimental_distribute_values_from_function(
            lambda context: {
                key: part[context.replica_id_in_sync_group] for key, part in parts.items()
            }
        )

    for turn in range(2):  # the second turn starts from empty accumulators
        before = {v.path: v.numpy() for v in model.trainable_variables}
        steps.accumulate(distribute(batches[0]))
        steps.accumulate(distribute(batches[1]))
        assert all(np.array_equal(before[v.path], v.numpy()) for v in model.trainable_variables)
        steps.update(distribute(batches[2]), STOP)
        if turn == 0:
            expected = gradients(
                lambda losses: (losses["contrastive"] + losses["adversary"]) / 3, *batches
            )
            assert_equal(moved(model), expected)
            for variable in model.trainable_variables:
                variable.assign(before[variable.path])
    assert_equal(moved(model), expected)


def test_a_loss_of_weight_zero_for_a_group_leaves_the_group_alone(strategies):
    model, steps = build(strategies[1], {"losses": {"adversary": {"modality_head/*": 1.0}}})
    result = steps.update(batch(), STOP)
    changed = {path for path, change in moved(model).items() if np.any(change)}
    assert changed <= {"modality_head/kernel", "modality_head/bias"}
    assert "modality_head/kernel" in changed
    assert "loss/contrastive" not in result


def test_unknown_loss_and_idle_phase_are_errors(strategies):
    with pytest.raises(UserError, match=r"lacks: itm\. Losses of this model: adversary, contras"):
        check_losses(PhaseConfig(losses={"itm": 1.0}), tiny.LinearDualEncoder.loss_names)
    with pytest.raises(UserError, match=r"changes nothing: .* matches \['decoder/\*'\]"):
        build(strategies[1], {"variables": ["decoder/*"]})
    _, steps = build(
        strategies[1], {"losses": {"contrastive": 1.0}, "variables": ["modality_head/*"]}
    )
    with pytest.raises(UserError, match="no loss depends on any variable"):
        steps.update(batch(), STOP)


@pytest.mark.gpu
def test_mixed_precision_trains_float32_variables(strategies):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model, steps = build(strategies[1], {"losses": {"adversary": 1.0}})
    finally:
        keras.config.set_dtype_policy("float32")
    assert {v.dtype for v in model.trainable_variables} == {"float32"}
    steps.update(batch(), STOP)
    expected = gradients(lambda losses: losses["adversary"], batch())["modality_head/kernel"]
    np.testing.assert_allclose(moved(model)["modality_head/kernel"], expected, rtol=0.05, atol=5e-3)


class WithoutPairs(tiny.LinearDualEncoder):
    """Of the losses that it declares, its batches have one."""

    def own_losses(self, batch, outputs):
        return {"adversary": super().own_losses(batch, outputs)["adversary"]}


def test_a_batch_may_lack_a_loss_that_the_phase_weighs(strategies):
    losses = {"contrastive": 1.0, "adversary": 1.0}
    model, steps = build(strategies[1], {"losses": losses}, model_class=WithoutPairs)
    result = steps.update(batch(), STOP)
    assert "loss/adversary" in result and "loss/contrastive" not in result
    assert_equal(moved(model), gradients(lambda losses: losses["adversary"], batch()))
