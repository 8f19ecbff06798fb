"""The weights of the step at which a hook measured best, and when to stop waiting for better."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path

import keras
import safetensors
import safetensors.numpy

from vl_models.errors import UserError
from vl_models.training.checkpoint import assign_values, variable_values
from vl_models.training.config import KeepBestConfig

FILE_NAME = "best.safetensors"

logger = logging.getLogger(__name__)


class BestWeights:
    """Keeps the best weights of one run in its folder; a resumed run finds them there.

    Args:
        run_dir: gets ``best.safetensors``, whose metadata tell step and value.
        config: which value counts.
        every: steps from one measurement to the next.
        variables: the model's, by path.
        writes: whether this process writes; with several workers, the chief alone.
    """

    def __init__(
        self,
        run_dir: Path,
        config: KeepBestConfig,
        every: int,
        variables: Mapping[str, keras.Variable],
        writes: bool,
    ) -> None:
        self.hook = config.hook
        self._path = run_dir / FILE_NAME
        self._config = config
        self._every = every
        self._variables = variables
        self._writes = writes
        self._step, self._value = -1, -math.inf
        if self._path.is_file():
            with safetensors.safe_open(self._path, "numpy") as file:
                metadata = file.metadata()
            self._step, self._value = int(metadata["step"]), float(metadata["value"])

    def offer(self, step: int, values: Mapping[str, float]) -> None:
        """Keep the weights of this step if none before measured as well.

        Raises:
            UserError: the hook does not measure what counts.
        """
        metric = self._config.metric
        if metric not in values:
            raise UserError(
                f"train.keep_best: the hook '{self._config.hook}' measures no '{metric}'. It "
                f"measures: {', '.join(sorted(values))}."
            )
        value = values[metric] if self._config.mode == "max" else -values[metric]
        if not value > self._value or step == self._step:
            return
        self._step, self._value = step, value
        if self._writes:
            data = safetensors.numpy.save(
                variable_values(self._variables), {"step": str(step), "value": repr(value)}
            )
            temporary = self._path.with_name(f".{self._path.name}")
            temporary.write_bytes(data)
            temporary.replace(self._path)

    def exhausted(self, step: int) -> bool:
        """Whether ``patience`` measurements in a row were no better."""
        patience = self._config.patience
        return patience is not None and 0 <= self._step <= step - patience * self._every

    def restore(self) -> None:
        """Give the model the best weights; nothing if there was no measurement."""
        if self._step < 0:
            return
        weights = safetensors.numpy.load_file(self._path)
        assign_values(self._variables, weights, str(self._path))
        sign = 1.0 if self._config.mode == "max" else -1.0
        logger.info(
            "weights of step %d, where %s was %.4f", self._step, self._config.metric,
            sign * self._value,
        )  # fmt: skip
