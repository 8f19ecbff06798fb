"""ClickExampleGen: the pipeline's first component."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import standard_artifacts

from tfx_pipeline.components.artifacts import Gallery, RejectedRows, Relevance
from tfx_pipeline.components.click_example_gen.executor import Executor
from tfx_pipeline.data.config import ExampleGenConfig
from tfx_pipeline.data.spans import ResolvedInput


class ClickExampleGenSpec(types.ComponentSpec):
    """Channels and execution properties of ClickExampleGen."""

    PARAMETERS = {  # noqa: RUF012 -- TFX's form
        "config": types.component_spec.ExecutionParameter(type=str),
        "files": types.component_spec.ExecutionParameter(type=str),
        "input_fingerprint": types.component_spec.ExecutionParameter(type=str),
        "spans": types.component_spec.ExecutionParameter(type=str),
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

    The input is resolved where the pipeline is submitted (`resolve_spans` or
    `DataFolder.resolve`). File list and fingerprint are execution properties: a run on the
    same input is cached, and no driver has to look at the input.

    Outputs: `examples` (splits train, val, test), `gallery`, `relevance`, `rejected`.
    """

    SPEC_CLASS = ClickExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(self, files: ResolvedInput, config: ExampleGenConfig, code_fingerprint: str = ""):
        """Create the component.

        Args:
          files: log files, fingerprint and spans of the input.
          config: what to build.
          code_fingerprint: of the code that builds; for the cache key only.
        """
        super().__init__(
            ClickExampleGenSpec(
                config=config.model_dump_json(),
                files=json.dumps(list(files.files)),
                input_fingerprint=files.fingerprint,
                spans=",".join(map(str, files.spans)),
                code_fingerprint=code_fingerprint,
                examples=types.Channel(type=standard_artifacts.Examples),
                gallery=types.Channel(type=Gallery),
                relevance=types.Channel(type=Relevance),
                rejected=types.Channel(type=RejectedRows),
            )
        )
