"""The compiled train step: forward once, signed totals per variable group, one update."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf

from vl_models.batch import Batch
from vl_models.distribution import global_sum
from vl_models.errors import UserError
from vl_models.models.base import VisionLanguageModel
from vl_models.training.config import PhaseConfig
from vl_models.training.moving_statistics import average_over_replicas, moving_statistics
from vl_models.training.optimizers import Group, clip_by_global_norm, reduce_gradients
from vl_models.training.patterns import matches
from vl_models.training.selection import frozen_variables, phase_variables

StepResult = dict[str, tf.Tensor]


@dataclass(frozen=True)
class Steps:
    """The compiled forms of a phase's step.

    All take the distributed batch, ``update`` also a float32 stop flag. ``accumulate`` only adds
    to the accumulators, ``update`` also updates the variables. Result: every loss as
    "loss/<name>", and from ``update`` also "gradient_norm", "stop" (sum over workers) and the
    model's scalars.
    ``collapsed`` changes nothing: what the losses would be for equal embeddings, as
    "collapsed/<name>".
    """

    accumulate: Callable[..., StepResult]
    update: Callable[..., StepResult]
    collapsed: Callable[..., StepResult]


class Accumulators:
    """Per-replica sums of gradients over the forward passes of one step.

    They are reduced once, at the update, and are zero between steps; so checkpoints, which
    are made between steps, need not hold them.
    """

    def __init__(self, variables: Sequence[keras.Variable]) -> None:
        self._sums = {
            variable.path: tf.Variable(
                tf.zeros(variable.shape, variable.dtype),
                trainable=False,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.SUM,
            )
            for variable in variables
        }

    def add(self, variable: keras.Variable, gradient: tf.Tensor) -> None:
        """Add this replica's gradient."""
        self._sums[variable.path].assign_add(gradient)

    def take(self, variable: keras.Variable, gradient: tf.Tensor) -> tf.Tensor:
        """Return the sum including ``gradient``, and start again from zero."""
        total = self._sums[variable.path].read_value() + gradient
        with tf.control_dependencies([total]):
            self._sums[variable.path].assign(tf.zeros_like(total))
        return total


def compile_steps(
    model: VisionLanguageModel,
    strategy: tf.distribute.Strategy,
    phase: PhaseConfig,
    groups: Sequence[Group],
    accumulation_steps: int = 1,
    clip_norm: float | None = None,
    accumulators: Accumulators | None = None,
    jit_compile: bool = False,
) -> Steps:
    """Compile the step of one phase.

    Each replica differentiates loss / (replicas · accumulation steps); sums over replicas and
    forward passes then give the gradient of the mean over the step's global batches.

    Args:
        model: built under the strategy's scope.
        strategy: runs the replicas.
        phase: loss weights and which variables may change.
        groups: optimisers; variables of other phases are left alone, slots included.
        accumulation_steps: forward passes per update.
        clip_norm: bound of the gradient norm over all groups.
        accumulators: needed with several accumulation steps.
        jit_compile: compile with XLA; on one device only, see `check_jit`.

    Returns:
        The compiled functions.

    Raises:
        UserError: the phase changes no variable.
    """
    variables = phase_variables(phase, groups)
    statistics = moving_statistics(model.variables)
    held = frozen_variables(phase, statistics)
    scale = 1.0 / (strategy.num_replicas_in_sync * accumulation_steps)

    def forward(batch: Batch) -> tuple[StepResult, list[tf.Tensor | None]]:
        watched = [variable.value for variable in variables]
        before = [tf.identity(variable.value) for variable in held]
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(watched)
            outputs = model.forward(batch, training=True)
            losses = model.losses(batch, outputs)
        losses = _of_phase(losses, phase)
        gradients = _gradients(tape, losses, phase, variables, scale)
        for variable, value in zip(held, before):
            variable.assign(value)
        model.after_step(batch, outputs)
        return {f"loss/{name}": loss for name, loss in losses.items()}, gradients

    def collapsed(batch: Batch) -> StepResult:
        losses = model.collapsed_losses(batch, model.forward(batch, training=False))
        return {f"collapsed/{name}": loss for name, loss in _of_phase(losses, phase).items()}

    def accumulate(batch: Batch) -> StepResult:
        results, gradients = forward(batch)
        assert accumulators is not None
        for variable, gradient in zip(variables, gradients):
            if gradient is not None:
                accumulators.add(variable, gradient)
        return results

    def update(batch: Batch, stop: tf.Tensor) -> StepResult:
        results, gradients = forward(batch)
        present = [
            (variable, gradient)
            for variable, gradient in zip(variables, gradients)
            if gradient is not None
        ]
        if accumulators is not None:
            present = [(v, accumulators.take(v, gradient)) for v, gradient in present]
        reduced, norm = clip_by_global_norm(reduce_gradients([g for _, g in present]), clip_norm)
        by_path = {variable.path: gradient for (variable, _), gradient in zip(present, reduced)}
        for group in groups:
            own = [variable for variable in group.variables if variable.path in by_path]
            if own:
                own_gradients, _ = clip_by_global_norm(
                    [by_path[variable.path] for variable in own], group.config.clip_norm
                )
                group.optimizer.apply(own_gradients, own)
        average_over_replicas(statistics)
        model.after_update()
        return {
            **results,
            "gradient_norm": norm,
            "stop": global_sum(stop),
            **{name: tf.convert_to_tensor(value) for name, value in model.scalars().items()},
        }

    return Steps(
        _compiled(strategy, accumulate, jit_compile),
        _compiled(strategy, update, jit_compile),
        _compiled(strategy, collapsed, jit_compile),
    )


def check_jit(strategy: tf.distribute.Strategy) -> None:
    """Raise UserError if XLA cannot compile a step of this strategy.

    A function compiled by XLA runs on one device: it refuses the other replicas' copies of the
    variables ("Trying to access resource … located in device …").
    """
    replicas = strategy.num_replicas_in_sync
    if replicas > 1:
        raise UserError(
            f"train.jit_compile works on one device, but this run has {replicas} replicas: XLA "
            "cannot compile a step whose variables are on several devices. Set "
            "train.jit_compile: false, or train on one device."
        )


def _compiled(
    strategy: tf.distribute.Strategy, replica_step: Callable[..., StepResult], jit_compile: bool
) -> Callable[..., StepResult]:
    """One graph over all replicas; results are equal on all, so the first one's are returned."""

    # Without AutoGraph an error keeps its type and traceback; models use graph operations.
    @tf.function(autograph=False, jit_compile=jit_compile or None)
    def step(*arguments: object) -> StepResult:
        results = strategy.run(replica_step, args=arguments)
        first = strategy.experimental_local_results
        return {key: first(value)[0] for key, value in results.items()}

    return step


def _of_phase(losses: Mapping[str, tf.Tensor], phase: PhaseConfig) -> dict[str, tf.Tensor]:
    """Those of the batch's losses that the phase names, or all."""
    if phase.losses is None:
        return dict(losses)
    return {name: losses[name] for name in phase.losses if name in losses}


def _gradients(
    tape: tf.GradientTape,
    losses: Mapping[str, tf.Tensor],
    phase: PhaseConfig,
    variables: Sequence[keras.Variable],
    scale: float,
) -> list[tf.Tensor | None]:
    """Gradient of each variable's own weighted total, from one forward pass.

    Variables with equal weights share one backward pass.
    """
    by_weights: dict[tuple[float, ...], list[int]] = {}
    for index, variable in enumerate(variables):
        by_weights.setdefault(_weights(phase, list(losses), variable.path), []).append(index)
    gradients: list[tf.Tensor | None] = [None] * len(variables)
    for weights, indices in by_weights.items():
        weighed = [(loss, w) for loss, w in zip(losses.values(), weights) if w != 0.0]
        if not weighed:
            continue
        found = tape.gradient(
            [loss for loss, _ in weighed],
            [variables[index].value for index in indices],
            output_gradients=[tf.constant(w * scale, loss.dtype) for loss, w in weighed],
        )
        for index, gradient in zip(indices, found):
            # Dense: sums over replicas and norms of sparse rows would count rows twice.
            gradients[index] = None if gradient is None else tf.convert_to_tensor(gradient)
    if all(gradient is None for gradient in gradients):
        raise UserError(
            f"Phase '{phase.name}': no loss depends on any variable that the phase may change."
        )
    return gradients


def _weights(phase: PhaseConfig, names: Sequence[str], path: str) -> tuple[float, ...]:
    """Weight of each loss for the variable at ``path``."""
    if phase.losses is None:
        return (1.0,) * len(names)
    return tuple(_weight(phase.losses[name], path) for name in names)


def _weight(weight: float | Mapping[str, float], path: str) -> float:
    if isinstance(weight, Mapping):
        for pattern, value in weight.items():
            if matches(path, (pattern,)):
                return value
        return 0.0
    return weight
