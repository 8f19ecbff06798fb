"""ReleasePusher: puts blessed models and their index into the serving root as one piece."""

# No postponed annotations here: TFX reads the types of the component function.

import json
from pathlib import Path

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from tfx_pipeline.components.artifacts import METRICS_FILE, Evaluation, PushedRelease, VectorIndex


@component
def ReleasePusher(
    model: InputArtifact[standard_artifacts.Model],
    index: InputArtifact[VectorIndex],
    evaluation: InputArtifact[Evaluation],
    blessing: InputArtifact[standard_artifacts.ModelBlessing],
    infra_blessing: InputArtifact[standard_artifacts.InfraBlessing],
    release: OutputArtifact[PushedRelease],
    serving_root: Parameter[str],
    version: Parameter[int],
    experiment: Parameter[str],
    lineage: Parameter[str],
    run_name: Parameter[str] = "",
    code_fingerprint: Parameter[str] = "",
    publish_to: Parameter[str] = "",
    file_system_options: Parameter[str] = "[]",
) -> None:
    """Publish models, index and weights under one version number, then the release manifest.

    Args:
        model: the Trainer's model.
        index: the built index.
        evaluation: metrics for the manifest and the model card.
        blessing: the evaluator's verdict.
        infra_blessing: the serving validator's verdict.
        release: `released` = 1 with the version, or 0 with the reasons.
        serving_root: folder that the model server serves.
        version: the release's number, decided at submission; 0 where the submitter could not see
            the serving root: then the next one.
        experiment: the experiment configuration, YAML, for the model card.
        lineage: JSON object that says what the release was made of, decided at submission.
        run_name: of this run, for the lineage.
        code_fingerprint: of the code that publishes, for the cache key only.
        publish_to: URI that the release is copied to, too; "" for none.
        file_system_options: JSON list of Beam's options for it, such as the endpoint.
    """
    del code_fingerprint
    from serving.publish import publish_release
    from serving.release import WEIGHTS
    from tfx_pipeline.config import ExperimentConfig
    from tfx_pipeline.release.model_card import render_model_card
    from tfx_pipeline.release.pushing import push, refuse
    from tfx_pipeline.release.rerank_settings import released_rerank
    from tfx_pipeline.release.reranker import describe_origin, released_members

    reasons = [
        f"{name}: {verdict.get_string_custom_property('reasons')}"
        for name, verdict in (("evaluation", blessing), ("serving", infra_blessing))
        if verdict.get_int_custom_property("blessed") != 1
    ]
    if reasons:
        refuse(release, "; ".join(reasons))
        return

    config = ExperimentConfig.from_yaml(experiment)
    exported = Path(path_utils.serving_model_path(model.uri))
    models = released_members(exported, config.release.reranker)
    built, weights = Path(index.uri, "index"), exported / WEIGHTS
    metrics = json.loads(Path(evaluation.uri, METRICS_FILE).read_text(encoding="utf-8"))
    spans = evaluation.get_string_custom_property("spans")
    data_span = [int(span) for span in spans.split(",") if span]
    made_of = {
        **json.loads(lineage),
        **({"run": run_name} if run_name else {}),
        **describe_origin(config.release.reranker),
    }
    artifacts = {"model": model.id, "index": index.id, "evaluation": evaluation.id}

    def publish(number: int) -> None:
        publish_release(
            serving_root,
            number,
            models=models,
            index=built if built.is_dir() else None,
            weights=weights if weights.is_dir() else None,
            metrics=metrics,
            lineage={**made_of, "artifacts": artifacts},
            data_span=data_span,
            rerank=released_rerank(config, metrics),
            model_card=render_model_card(
                name=config.name,
                version=number,
                models=models,
                experiment=experiment,
                spans=data_span,
                reranker=config.release.reranker,
            ),
        )

    push(release, publish, serving_root, version, publish_to, file_system_options)
