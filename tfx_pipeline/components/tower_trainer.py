"""TFX's Trainer with one more parameter: the number of steps, which a run may set."""

from __future__ import annotations

from typing import Any

from tfx import types
from tfx.components import Trainer
from tfx.components.trainer import executor as trainer_executor
from tfx.dsl.components.base import executor_spec
from tfx.orchestration.data_types import RuntimeParameter
from tfx.types import component_spec, standard_artifacts
from tfx.types import standard_component_specs as specs
from tfx.utils import json_utils


class TowerTrainerSpec(specs.TrainerSpec):
    """Trainer's specification and `steps`."""

    PARAMETERS = {  # noqa: RUF012 -- TFX declares it so
        **specs.TrainerSpec.PARAMETERS,
        "steps": component_spec.ExecutionParameter(type=int),
    }


class TowerTrainerExecutor(trainer_executor.GenericExecutor):
    """Hands the number of steps to `run_fn` in its `custom_config`."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Run the module's `run_fn` for the steps that this run names."""
        custom_config = json_utils.loads(exec_properties[specs.CUSTOM_CONFIG_KEY])
        custom_config["steps"] = exec_properties["steps"]
        properties = {
            **exec_properties,
            specs.CUSTOM_CONFIG_KEY: json_utils.dumps(custom_config),
        }
        super().Do(input_dict, output_dict, properties)


class TowerTrainer(Trainer):
    """Trains the towers of an experiment."""

    SPEC_CLASS = TowerTrainerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(TowerTrainerExecutor)

    def __init__(
        self,
        steps: int | RuntimeParameter,
        run_fn: str,
        custom_config: dict[str, Any],
        **channels_and_splits: Any,
    ):
        """Construct the component.

        Args:
            steps: optimiser updates; 0 as the experiment says.
            run_fn: import path of the function that trains.
            custom_config: JSON values for `run_fn`, part of the cache key.
            **channels_and_splits: further fields of TFX's `TrainerSpec`.
        """
        spec = TowerTrainerSpec(
            steps=steps,
            run_fn=run_fn,
            custom_config=json_utils.dumps(custom_config),
            model=types.Channel(type=standard_artifacts.Model),
            model_run=types.Channel(type=standard_artifacts.ModelRun),
            **channels_and_splits,
        )
        # Trainer's own constructor builds the specification without our parameter.
        super(Trainer, self).__init__(spec=spec)
        self.with_id("Trainer")
