"""ClickExampleGen: the pipeline's first component, from a click log and images to tf.Examples."""

# No postponed annotations here: TFX reads the types of the component function.

import apache_beam as beam
from tfx.components.util import examples_utils
from tfx.dsl.component.experimental.annotations import (
    BeamComponentParameter,
    OutputArtifact,
    Parameter,
)
from tfx.dsl.component.experimental.decorators import component
from tfx.proto import example_gen_pb2
from tfx.types import standard_artifacts

from tfx_pipeline.components.artifacts import (
    IMAGES_ROOT,
    Gallery,
    RejectedRows,
    RelevanceTable,
)


@component(use_beam=True)
def ClickExampleGen(
    examples: OutputArtifact[standard_artifacts.Examples],
    gallery: OutputArtifact[Gallery],
    relevance: OutputArtifact[RelevanceTable],
    rejected: OutputArtifact[RejectedRows],
    data: Parameter[str],
    options: Parameter[str],
    resolved: Parameter[str] = "",
    code_fingerprint: Parameter[str] = "",
    beam_pipeline: BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Read a click log and an image store; write one tf.Example per image and split.

    The input is resolved where the pipeline is submitted (`ResolvedData.of`). File list and
    fingerprint are in an execution property: a run on the same input is cached, and no driver
    has to look at the input. Where the submitter cannot see the data, the step looks itself.

    Args:
        examples: gets the splits train, val, test.
        gallery: gets every image once.
        relevance: gets the known positives.
        rejected: gets what could not be used.
        data: the data folder.
        options: how Examples are made of it, a `DataConfig` as JSON.
        resolved: what the folder came down to at submission, a `ResolvedData` as JSON; see
            `resolved.settle`.
        code_fingerprint: of the code that builds; for the cache key only.
        beam_pipeline: given by TFX.

    Raises:
        UserError: the input cannot be read, holds nothing, or too much of it is rejected.
    """
    del code_fingerprint
    from tfx_pipeline.data.examples import OutputDirs, build_examples, finish_run
    from tfx_pipeline.data.resolved import settle
    from vl_models.features import SPLITS

    found = settle(data, options, resolved)
    dirs = OutputDirs(examples.uri, gallery.uri, relevance.uri, rejected.uri)
    with beam_pipeline as pipeline:
        build_examples(pipeline, found.config, found.files, dirs)
    summary = finish_run(found.config, dirs)

    examples.splits = list(SPLITS)
    payload = example_gen_pb2.PayloadFormat.Value("FORMAT_TF_EXAMPLE")  # type: ignore[attr-defined]
    examples_utils.set_payload_format(examples, payload)
    examples.set_string_custom_property("file_format", "tfrecords_gzip")
    examples.set_string_custom_property("input_fingerprint", found.fingerprint)
    for output in (examples, relevance):
        output.set_string_custom_property("spans", ",".join(map(str, found.spans)))
    gallery.set_int_custom_property("images", summary["counters"]["images"])
    gallery.set_string_custom_property(IMAGES_ROOT, found.config.images.root or "")
    relevance.set_int_custom_property("pairs", summary["counters"]["pairs"])
    rejected.set_int_custom_property("rows", sum(summary["rejected"].values()))
