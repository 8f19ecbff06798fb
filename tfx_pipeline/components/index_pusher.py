"""IndexPusher: puts an index of the current release's towers into the serving root."""

# No postponed annotations here: TFX reads the types of the component function.

import json
from pathlib import Path

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts

from tfx_pipeline.components.artifacts import PushedRelease, RelevanceTable, VectorIndex


@component
def IndexPusher(
    model: InputArtifact[standard_artifacts.Model],
    index: InputArtifact[VectorIndex],
    relevance: InputArtifact[RelevanceTable],
    infra_blessing: InputArtifact[standard_artifacts.InfraBlessing],
    release: OutputArtifact[PushedRelease],
    serving_root: Parameter[str],
    version: Parameter[int],
    max_vanished_fraction: Parameter[float],
    lineage: Parameter[str],
    run_name: Parameter[str] = "",
    code_fingerprint: Parameter[str] = "",
    publish_to: Parameter[str] = "",
    file_system_options: Parameter[str] = "[]",
) -> None:
    """Publish an index as a new release with the towers of the current one.

    Args:
        model: the current release's towers.
        index: the built index.
        relevance: tells the spans of the log.
        infra_blessing: the serving validator's verdict.
        release: `released` = 1 with the version, or 0 with the reasons.
        serving_root: folder that the model server serves.
        version: the release's number, decided at submission; 0 where the submitter could not see
            the serving root: then the next one.
        max_vanished_fraction: share of the current release's images that may be gone.
        lineage: JSON object that says what the release was made of, decided at submission.
        run_name: of this run, for the lineage.
        code_fingerprint: of the code that publishes, for the cache key only.
        publish_to: URI that the release is copied to, too; "" for none.
        file_system_options: JSON list of Beam's options for it, such as the endpoint.
    """
    del code_fingerprint
    from serving.publish import publish_index
    from tfx_pipeline.release.kept_index import too_many_vanished
    from tfx_pipeline.release.pushing import push, refuse

    built = Path(index.uri, "index")
    reasons = ""
    if infra_blessing.get_int_custom_property("blessed") != 1:
        reasons = f"serving: {infra_blessing.get_string_custom_property('reasons')}"
    else:
        reasons = too_many_vanished(Path(serving_root), built, max_vanished_fraction)
    if reasons:
        refuse(release, reasons)
        return
    spans = relevance.get_string_custom_property("spans")
    made_of = {
        **json.loads(lineage),
        **({"run": run_name} if run_name else {}),
        "towers_of": model.get_int_custom_property("release"),
        "artifacts": {"index": index.id},
    }

    def publish(number: int) -> None:
        publish_index(
            serving_root,
            number,
            built,
            lineage=made_of,
            data_span=[int(span) for span in spans.split(",") if span],
        )

    push(release, publish, serving_root, version, publish_to, file_system_options)
