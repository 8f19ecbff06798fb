"""IndexBuilder: encodes the gallery with the exported image tower and builds the index."""

# No postponed annotations here: TFX reads the types of the component function.

import logging
from pathlib import Path

import apache_beam as beam
from tfx.dsl.component.experimental.annotations import (
    BeamComponentParameter,
    InputArtifact,
    OutputArtifact,
    Parameter,
)
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from tfx_pipeline.components.artifacts import Gallery, VectorIndex
from tfx_pipeline.release.gallery_embeddings import encode_gallery, read_embeddings


@component(use_beam=True)
def IndexBuilder(
    gallery: InputArtifact[Gallery],
    model: InputArtifact[standard_artifacts.Model],
    index: OutputArtifact[VectorIndex],
    kind: Parameter[str],
    batch_size: Parameter[int] = 64,
    code_fingerprint: Parameter[str] = "",
    beam_pipeline: BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Write the embeddings (Parquet shards) and the index over them; nothing without a tower.

    Args:
        gallery: every image of the store.
        model: the Trainer's model; its image tower encodes.
        index: gets `embeddings/` and `index/` (as `serving.index` reads it).
        kind: "flat", "hnsw" or "binary".
        batch_size: images per call of the tower.
        code_fingerprint: of the code that builds, for the cache key only.
        beam_pipeline: given by TFX.
    """
    del code_fingerprint
    from serving.index import build_index

    image_tower = Path(path_utils.serving_model_path(model.uri), "image_tower")
    if not image_tower.is_dir():  # a release of a reranker alone is not searched
        return
    embeddings_dir = Path(index.uri, "embeddings")
    with beam_pipeline as pipeline:
        encode_gallery(pipeline, gallery.uri, str(image_tower), str(embeddings_dir), batch_size)
    ids, uris, matrix = read_embeddings(embeddings_dir)
    build_index(matrix, ids, uris, Path(index.uri, "index"), kind=kind)
    logging.info("Index of %d images, %d dimensions", *matrix.shape)
