"""Between a search space over the experiment's keys and KerasTuner's hyperparameters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vl_models.errors import UserError

if TYPE_CHECKING:
    import keras_tuner

    from tfx_pipeline.config import ExperimentConfig
    from tfx_pipeline.tuning.config import Dimension

# What a trial may change. Other keys say what data there is and how it is measured.
TUNABLE = ("model", "input", "train", "vocabulary")
# KerasTuner's choices are plain values of one type; others are written out.
_JSON = "json:"
_OWN = "tuner/"  # what the Hyperband oracle notes among the values


def to_hyperparameters(space: Mapping[str, Dimension]) -> keras_tuner.HyperParameters:
    """Return the space as KerasTuner's oracles take it; names are the keys."""
    import keras_tuner

    hyperparameters = keras_tuner.HyperParameters()
    for key, dimension in space.items():
        if dimension.choice is not None:
            hyperparameters.Choice(key, _encode(dimension.choice))
            continue
        low, high = dimension.range
        sampling = "log" if dimension.scale == "log" else "linear"
        if dimension.float is not None:
            hyperparameters.Float(key, low, high, step=dimension.step, sampling=sampling)
        else:
            step = None if dimension.step is None else int(dimension.step)
            if step is None and sampling == "linear":
                step = 1
            hyperparameters.Int(key, int(low), int(high), step=step, sampling=sampling)
    return hyperparameters


def from_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values that an oracle chose, as values of the experiment's keys."""
    return {key: _decode(value) for key, value in values.items() if not key.startswith(_OWN)}


def check_space(config: ExperimentConfig) -> None:
    """Refuse keys that the experiment does not have, and values that they cannot take.

    Combinations are not tried: a trial with values that exclude each other fails alone.

    Raises:
        UserError: names the key.
    """
    assert config.tune is not None, "there is a search to check"
    for key, dimension in config.tune.space.items():
        root = key.partition(".")[0]
        if root not in TUNABLE:
            raise UserError(
                f"tune.space: a search changes keys under {', '.join(TUNABLE)}. Received: {key!r}."
            )
        # How errors name the key: those about the model leave its section out.
        names = (f"'{key}'", f"'{key.removeprefix('model.')}'")
        for value in dimension.extremes:
            try:
                config.with_values({key: value}, f"tune.space: {key}")
            except UserError as error:
                if "Unknown key" in str(error) or any(name in str(error) for name in names):
                    raise


def check_pipeline_space(space: Mapping[str, Dimension]) -> None:
    """Refuse keys that steps before the pipeline's Tuner depend on.

    Raises:
        UserError: names the key.
    """
    for key in space:
        if key.startswith("vocabulary.") or key == "model.max_length":
            raise UserError(
                "tune.space: with tune.enabled, vocabulary and text length are settled before the "
                "Tuner runs. Search over them with `vlsearch tune`, or take the key out. "
                f"Received: {key!r}."
            )


def _encode(choice: list[Any]) -> list[Any]:
    """Plain values of one type as they are; else all as text."""
    kinds = {type(value) for value in choice}
    if len(kinds) == 1 and kinds <= {int, float, str, bool}:
        return choice
    return [_JSON + json.dumps(value) for value in choice]


def _decode(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_JSON):
        return json.loads(value.removeprefix(_JSON))
    return value
