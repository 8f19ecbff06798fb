"""TFX's Transform with one more input: the vocabulary that the graph tokenises with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfx import types
from tfx.components.transform import executor as transform_executor
from tfx.components.transform.component import Transform
from tfx.dsl.components.base import executor_spec
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, component_spec, standard_artifacts
from tfx.types import standard_component_specs as specs
from tfx.utils import json_utils

from tfx_pipeline.components.artifacts import Vocabulary
from vl_models.text.factory import VOCABULARY_FILES


class TextTransformSpec(specs.TransformSpec):
    """Transform's specification and a vocabulary."""

    INPUTS = {  # noqa: RUF012 -- TFX declares it so
        **specs.TransformSpec.INPUTS,
        "vocabulary": component_spec.ChannelParameter(type=Vocabulary),
    }


class TextTransformExecutor(transform_executor.Executor):
    """Hands the vocabulary's folder to `preprocessing_fn`, and a copy to those downstream."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Run Transform; the graph artifact also holds the vocabulary's files."""
        inputs = dict(input_dict)
        vocabulary = artifact_utils.get_single_uri(inputs.pop("vocabulary"))
        custom_config = json_utils.loads(exec_properties[specs.CUSTOM_CONFIG_KEY])
        custom_config["vocabulary"] = vocabulary
        properties = {
            **exec_properties,
            specs.CUSTOM_CONFIG_KEY: json_utils.dumps(custom_config),
        }
        super().Do(inputs, output_dict, properties)
        graph = artifact_utils.get_single_uri(output_dict[specs.TRANSFORM_GRAPH_KEY])
        for name in VOCABULARY_FILES:
            if fileio.exists(str(Path(vocabulary, name))):
                fileio.copy(str(Path(vocabulary, name)), str(Path(graph, name)), overwrite=True)


class TextTransform(Transform):
    """Transform over the text features, not materialised: image bytes are never copied."""

    SPEC_CLASS = TextTransformSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(TextTransformExecutor)

    def __init__(
        self,
        examples: types.BaseChannel,
        schema: types.BaseChannel,
        vocabulary: types.BaseChannel,
        preprocessing_fn: str,
        custom_config: dict[str, Any],
    ):
        """Construct the component.

        Args:
            examples: Examples artifact with a `train` split, which is analysed.
            schema: Schema artifact.
            vocabulary: Vocabulary artifact.
            preprocessing_fn: import path of the function.
            custom_config: JSON values for `preprocessing_fn`, part of the cache key.
        """
        spec = TextTransformSpec(
            examples=examples,
            schema=schema,
            vocabulary=vocabulary,
            preprocessing_fn=preprocessing_fn,
            custom_config=json_utils.dumps(custom_config),
            force_tf_compat_v1=0,
            disable_statistics=1,
            transform_graph=types.Channel(type=standard_artifacts.TransformGraph),
        )
        # Transform's own constructor builds the specification without our input.
        super(Transform, self).__init__(spec=spec)
