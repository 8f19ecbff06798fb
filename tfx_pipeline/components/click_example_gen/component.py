"""ClickExampleGen: the pipeline's first component."""

from __future__ import annotations

from typing import Any, ClassVar

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.orchestration.data_types import RuntimeParameter
from tfx.types import standard_artifacts

from tfx_pipeline.components.artifacts import Gallery, RejectedRows, Relevance
from tfx_pipeline.components.click_example_gen.executor import Executor


class ClickExampleGenSpec(types.ComponentSpec):
    """Channels and execution properties of ClickExampleGen."""

    PARAMETERS = {  # noqa: RUF012 -- TFX's form
        "data": types.component_spec.ExecutionParameter(type=str),
        "options": types.component_spec.ExecutionParameter(type=str),
        "resolved": types.component_spec.ExecutionParameter(type=str),
        "code_fingerprint": types.component_spec.ExecutionParameter(type=str),
    }
    INPUTS: ClassVar[dict[str, Any]] = {}
    OUTPUTS = {  # noqa: RUF012
        "examples": types.component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "gallery": types.component_spec.ChannelParameter(type=Gallery),
        "relevance": types.component_spec.ChannelParameter(type=Relevance),
        "rejected": types.component_spec.ChannelParameter(type=RejectedRows),
    }


class ClickExampleGen(base_beam_component.BaseBeamComponent):
    """Reads a click log and an image store; writes one tf.Example per image and split.

    The input is resolved where the pipeline is submitted (`ResolvedData.of`). File list and
    fingerprint are in an execution property: a run on the same input is cached, and no driver
    has to look at the input. Where the submitter cannot see the data, the step looks itself.

    Outputs: `examples` (splits train, val, test), `gallery`, `relevance`, `rejected`.
    """

    SPEC_CLASS = ClickExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        data: str | RuntimeParameter,
        options: str,
        resolved: str | RuntimeParameter = "",
        code_fingerprint: str = "",
    ):
        """Create the component.

        Args:
          data: the data folder.
          options: how Examples are made of it, a `DataConfig` as JSON.
          resolved: what the folder came down to at submission, a `ResolvedData` as JSON.
          code_fingerprint: of the code that builds; for the cache key only.
        """
        super().__init__(
            ClickExampleGenSpec(
                data=data,
                options=options,
                resolved=resolved,
                code_fingerprint=code_fingerprint,
                examples=types.Channel(type=standard_artifacts.Examples),
                gallery=types.Channel(type=Gallery),
                relevance=types.Channel(type=Relevance),
                rejected=types.Channel(type=RejectedRows),
            )
        )
