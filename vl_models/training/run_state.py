"""What of a run is in its checkpoints: weights, optimiser slots, input position, settings."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from vl_models.errors import UserError
from vl_models.input.mixer import Mixer
from vl_models.training.checkpoint import (
    Checkpoint,
    assign_values,
    checkpoint_folders,
    latest_checkpoint,
    save_checkpoint,
    variable_values,
)
from vl_models.training.config import TrainConfig
from vl_models.training.workers import from_chief, worker_place

logger = logging.getLogger(__name__)


class RunState:
    """Saves and restores one run.

    Args:
        run_dir: gets ``checkpoints/``.
        config: of the run; some settings must not change while it is continued.
        variables: the model's, by path.
        slots: the optimisers' variables, by name.
        mixer: holds the input's position.
        strategy: only its chief writes; all workers read.
    """

    def __init__(
        self,
        run_dir: Path,
        config: TrainConfig,
        variables: Mapping[str, keras.Variable],
        slots: Mapping[str, keras.Variable],
        mixer: Mixer,
        strategy: tf.distribute.Strategy,
    ) -> None:
        self._run_dir = run_dir
        self._folder = run_dir / "checkpoints"
        self._config = config
        self._variables = variables
        self._slots = slots
        self._mixer = mixer
        self._strategy = strategy

    def save(self, step: int) -> None:
        """Write a checkpoint after ``step`` updates; on the chief alone."""
        if not worker_place(self._strategy).is_chief:
            return
        state = {
            "inputs": {name: list(place) for name, place in self._mixer.positions.items()},
            "config": json.loads(self._config.model_dump_json(by_alias=True)),
        }
        checkpoint = Checkpoint(
            step, variable_values(self._variables), variable_values(self._slots), state
        )
        save_checkpoint(self._folder, checkpoint, self._config.keep)

    def restore(self, resume: bool) -> int:
        """Load the newest whole checkpoint.

        Args:
            resume: False refuses a run folder that has checkpoints.

        Returns:
            The step it was made at; 0 if there is none.

        Raises:
            UserError: checkpoints that cannot be used, or that another worker sees differently.
        """
        if not resume and checkpoint_folders(self._folder):
            raise UserError(f"{self._run_dir} already holds a run; resume it, or use another.")
        checkpoint = latest_checkpoint(self._folder)
        step = 0 if checkpoint is None else checkpoint.step
        if (chief_step := from_chief(self._strategy, step)) != step:
            raise UserError(
                f"The chief continues from step {chief_step}, but this worker sees step {step} in "
                f"{self._folder}. All workers need the same, shared run folder."
            )
        if checkpoint is None:
            return 0
        where = f"The checkpoint of step {step} in {self._run_dir}"
        self._check_order(checkpoint.state["config"], where)
        assign_values(self._variables, checkpoint.weights, where)
        assign_values(self._slots, checkpoint.optimizer, where)
        self._mixer.restore(checkpoint.state["inputs"])
        return step

    def _check_order(self, before: Mapping[str, Any], where: str) -> None:
        """Refuse settings under which the input could not continue where it stopped."""
        for key in ("seed", "shuffle_buffer", "texts_per_image"):
            if before[key] != getattr(self._config, key):
                raise UserError(
                    f"{where} was made with {key}={before[key]}, so training cannot continue "
                    f"exactly. Received: {key}={getattr(self._config, key)}."
                )
