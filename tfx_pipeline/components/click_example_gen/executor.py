"""Executor of ClickExampleGen: runs the Beam graph of tfx_pipeline/data/examples.py."""

from __future__ import annotations

from typing import Any

from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from tfx_pipeline.data.beam_options import default_beam_args
from tfx_pipeline.data.examples import OutputDirs, build_examples, finish_run
from tfx_pipeline.data.resolved import settle
from tfx_pipeline.storage.options import use_file_system_options
from vl_models.features import SPLITS


class Executor(base_beam_executor.BaseBeamExecutor):
    """Writes Examples, gallery, relevance and rejected rows."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Run on the resolved files.

        Args:
          input_dict: empty.
          output_dict: examples, gallery, relevance, rejected.
          exec_properties: `data`, `options` and `resolved`, see `resolved.settle`.

        Raises:
          UserError: the input cannot be read, holds nothing, or too much of it is rejected.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        use_file_system_options(self._beam_pipeline_args)
        data = settle(*(exec_properties[name] for name in ("data", "options", "resolved")))
        outputs = {
            name: artifact_utils.get_single_instance(output_dict[name])
            for name in ("examples", "gallery", "relevance", "rejected")
        }
        dirs = OutputDirs(**{name: artifact.uri for name, artifact in outputs.items()})
        if not self._beam_pipeline_args:
            self._beam_pipeline_args = [*default_beam_args()]
        pipeline = self._make_beam_pipeline()
        build_examples(pipeline, data.config, list(data.files), dirs)
        pipeline.run().wait_until_finish()
        summary = finish_run(data.config, dirs)

        examples = outputs["examples"]
        examples.splits = list(SPLITS)
        payload = example_gen_pb2.PayloadFormat.Value("FORMAT_TF_EXAMPLE")  # type: ignore[attr-defined]
        examples_utils.set_payload_format(examples, payload)
        examples.set_string_custom_property("file_format", "tfrecords_gzip")
        examples.set_string_custom_property("input_fingerprint", data.fingerprint)
        for name in ("examples", "relevance"):
            outputs[name].set_string_custom_property("spans", ",".join(map(str, data.spans)))
        outputs["gallery"].set_int_custom_property("images", summary["counters"]["images"])
        outputs["relevance"].set_int_custom_property("pairs", summary["counters"]["pairs"])
        outputs["rejected"].set_int_custom_property("rows", sum(summary["rejected"].values()))
