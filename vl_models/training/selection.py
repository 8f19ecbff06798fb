"""Which variables a phase may change."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import keras

from vl_models.errors import UserError
from vl_models.training.config import PhaseConfig
from vl_models.training.optimizers import Group
from vl_models.training.patterns import matches, require_matches


def phase_variables(phase: PhaseConfig, groups: Sequence[Group]) -> list[keras.Variable]:
    """Variables of the optimisers that the phase names and does not freeze, in group order.

    Raises:
        UserError: there is none.
    """
    variables = [
        variable
        for group in groups
        for variable in group.variables
        if matches(variable.path, phase.variables) and not matches(variable.path, phase.frozen)
    ]
    if not variables:
        but = f" and not {list(phase.frozen)}" if phase.frozen else ""
        raise UserError(
            f"Phase '{phase.name}' changes nothing: no variable of an optimiser matches "
            f"{list(phase.variables)}{but}."
        )
    return variables


def frozen_variables(
    phase: PhaseConfig, variables: Iterable[keras.Variable]
) -> list[keras.Variable]:
    """Those of the variables that the phase freezes."""
    return [variable for variable in variables if matches(variable.path, phase.frozen)]


def check_frozen(phase: PhaseConfig, variables: Iterable[keras.Variable]) -> None:
    """Raise UserError if a pattern of ``frozen`` matches no variable, naming the nearest path."""
    paths = [variable.path for variable in variables]
    require_matches(phase.frozen, paths, f"Phase '{phase.name}': a pattern of `frozen`")


def check_losses(phase: PhaseConfig, loss_names: Collection[str]) -> None:
    """Refuse weights of losses that the model does not declare.

    A batch may lack a declared loss: images alone have none of pairs.

    Raises:
        UserError: names the losses that there are.
    """
    unknown = sorted(set(phase.losses or ()) - set(loss_names))
    if unknown:
        raise UserError(
            f"Phase '{phase.name}' weighs losses that the model lacks: {', '.join(unknown)}. "
            f"Losses of this model: {', '.join(sorted(loss_names))}."
        )
