"""ServingValidator: boots a model server on a staged release and queries it."""

# No postponed annotations here: TFX reads the types of the component function.

import logging
from pathlib import Path

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from tfx_pipeline.components.artifacts import Gallery, RelevanceTable, VectorIndex


@component
def ServingValidator(
    model: InputArtifact[standard_artifacts.Model],
    index: InputArtifact[VectorIndex],
    gallery: InputArtifact[Gallery],
    relevance: InputArtifact[RelevanceTable],
    infra_blessing: OutputArtifact[standard_artifacts.InfraBlessing],
    queries: Parameter[int] = 32,
    reranker: Parameter[str] = "",
    code_fingerprint: Parameter[str] = "",
) -> None:
    """Serve a staged copy in the release layout on loopback and search it over gRPC.

    Args:
        model: the Trainer's model.
        index: the built index.
        gallery: real images to encode.
        relevance: real queries to ask.
        infra_blessing: `blessed` = 1 if every answer was right, else 0 with the reason.
        queries: how many queries to ask, and images to encode.
        reranker: names one of another run, see `ReleaseConfig`; "" for none.
        code_fingerprint: of the code that serves, for the cache key only.
    """
    del code_fingerprint
    from tfx_pipeline.release.validation import validate_serving

    built = Path(index.uri, "index")
    problem = validate_serving(
        models_dir=Path(path_utils.serving_model_path(model.uri)),
        index_dir=built if built.is_dir() else None,
        gallery_dir=Path(gallery.uri),
        relevance_path=Path(relevance.uri, "relevance.parquet"),
        staging_dir=Path(infra_blessing.uri, "staged"),
        queries=queries,
        reranker=reranker,
    )
    infra_blessing.set_int_custom_property("blessed", int(problem is None))
    if problem is not None:
        infra_blessing.set_string_custom_property("reasons", problem)
        logging.error("Serving validation failed: %s", problem)
