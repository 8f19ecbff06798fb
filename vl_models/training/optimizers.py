"""Keras optimisers per group of variables, applied to gradients that are already reduced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from vl_models.errors import UserError
from vl_models.training.config import OptimizerConfig
from vl_models.training.patterns import matches
from vl_models.training.schedules import ScheduleConfig


@dataclass(frozen=True)
class Group:
    """An optimiser, the variables that it owns, and how its learning rate moves."""

    name: str
    optimizer: Any
    variables: tuple[keras.Variable, ...]
    config: OptimizerConfig
    schedule: ScheduleConfig


def build_groups(
    prefix: str,
    configs: Sequence[OptimizerConfig],
    variables: Sequence[keras.Variable],
    schedule: ScheduleConfig,
) -> list[Group]:
    """Create the optimisers and all their slots; call it under the strategy's scope.

    Args:
        prefix: makes the names unique, for example "stage/phase/"; "" for the shared ones.
        configs: a variable belongs to the first whose patterns match.
        variables: trainable variables to distribute over the optimisers.
        schedule: of optimisers without one of their own.

    Returns:
        One group per configuration, in order.

    Raises:
        UserError: an optimiser that gets no variable, or a repeated name.
    """
    owned: list[list[keras.Variable]] = [[] for _ in configs]
    for variable in variables:
        for index, config in enumerate(configs):
            if matches(variable.path, config.variables):
                owned[index].append(variable)
                break
    groups: list[Group] = []
    for index, (config, members) in enumerate(zip(configs, owned)):
        name = prefix + (config.name or f"{config.kind}_{index}")
        if not members:
            paths = ", ".join(variable.path for variable in variables[:8])
            raise UserError(
                f"Optimiser '{name}' gets no variable: none matches {list(config.variables)} that "
                f"an earlier optimiser has not taken. Variables: {paths}, …"
            )
        if name in {group.name for group in groups}:
            raise UserError(f"Two optimisers are called '{name}'; give them different names.")
        optimizer = _make(config, name)
        if config.weight_decay:
            excluded = [v for v in members if matches(v.path, config.no_decay)]
            optimizer.exclude_from_weight_decay(var_list=[v.value for v in excluded])
        optimizer.build(members)
        groups.append(Group(name, optimizer, tuple(members), config, config.schedule or schedule))
    return groups


def reduce_gradients(gradients: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Sum gradients over replicas; in replica context."""
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return list(gradients)
    return list(context.all_reduce(tf.distribute.ReduceOp.SUM, list(gradients)))


def clip_by_global_norm(
    gradients: Sequence[tf.Tensor], limit: float | None
) -> tuple[list[tf.Tensor], tf.Tensor]:
    """Scale gradients down to a global norm of at most ``limit`` (Pascanu et al. 2013).

    Returns:
        The gradients, and the float32 norm before clipping.
    """
    norm = tf.linalg.global_norm([tf.cast(gradient, tf.float32) for gradient in gradients])
    if limit is None:
        return list(gradients), norm
    factor = limit / tf.maximum(norm, limit)
    return [gradient * tf.cast(factor, gradient.dtype) for gradient in gradients], norm


def _make(config: OptimizerConfig, name: str) -> Any:
    """Return an optimiser of the configured kind, for reduced gradients."""
    common = {
        "learning_rate": config.learning_rate,
        "weight_decay": config.weight_decay or None,
        "name": name.replace("/", "_"),
    }
    if config.kind == "sgd":
        return _reduced(keras.optimizers.SGD)(momentum=config.momentum, **common)
    kinds = {
        "adamw": keras.optimizers.AdamW,
        "adam": keras.optimizers.Adam,
        "lamb": keras.optimizers.Lamb,
    }
    beta_1, beta_2 = config.betas
    if config.kind == "adamw":
        common["weight_decay"] = config.weight_decay  # AdamW refuses None
    return _reduced(kinds[config.kind])(
        beta_1=beta_1, beta_2=beta_2, epsilon=config.epsilon, **common
    )


def _reduced(kind: type) -> type:
    """Return the optimiser class, not summing gradients over replicas once more.

    Keras' `apply` sums in replica context. The trainer has to do it earlier, to clip by the
    norm of the sum; the one-versus-two-replicas tests fail if Keras changes this method.
    """

    class Reduced(kind):  # type: ignore[misc, valid-type]
        def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
            return grads_and_vars

    return Reduced
