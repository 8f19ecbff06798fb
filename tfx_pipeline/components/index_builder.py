"""IndexBuilder: encodes the gallery with the exported image tower and builds the index."""

# No postponed annotations here: TFX reads the types of the component function.

import json
import logging
import shutil
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

from tfx_pipeline.components.artifacts import (
    IMAGES_ROOT,
    Gallery,
    RelevanceTable,
    VectorIndex,
)
from tfx_pipeline.release.gallery_embeddings import (
    TokenReader,
    encode_gallery,
    read_embeddings,
    read_image_tokens,
)


@component(use_beam=True)
def IndexBuilder(
    gallery: InputArtifact[Gallery],
    relevance: InputArtifact[RelevanceTable],
    model: InputArtifact[standard_artifacts.Model],
    index: OutputArtifact[VectorIndex],
    kind: Parameter[str],
    data: Parameter[str],
    batch_size: Parameter[int] = 64,
    reranker: Parameter[str] = "",
    serving_root: Parameter[str] = "",
    file_system_options: Parameter[str] = "[]",
    code_fingerprint: Parameter[str] = "",
    beam_pipeline: BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Write the embeddings (Parquet shards) and the index over them; nothing without a tower.

    Where the reranker reads images apart from texts, the index holds what it reads of each. Images
    that the current release was made of are not encoded again, if the towers are those.

    Args:
        gallery: every image of the store.
        relevance: the log's queries.
        model: the Trainer's model; its image tower encodes.
        index: gets `embeddings/` and `index/` (as `serving.index` reads it).
        kind: "flat", "hnsw" or "binary".
        data: the data folder, which may hold a table of items.
        batch_size: images per call of the tower.
        reranker: names one of another run, see `ReleaseConfig`; "" for none.
        serving_root: folder of the releases; "" looks at none.
        file_system_options: JSON list of Beam's options for a bucket that the data folder is in.
        code_fingerprint: of the code that builds and of the items, for the cache key only.
        beam_pipeline: given by TFX.
    """
    del code_fingerprint
    from serving.index import build_index
    from tfx_pipeline.data.items import items_of, read_items_of
    from tfx_pipeline.release.kept_index import kept_index
    from tfx_pipeline.release.logged_queries import read_logged_queries
    from tfx_pipeline.release.reranker import released_members
    from tfx_pipeline.release.signatures import read_signatures
    from tfx_pipeline.storage.options import use_file_system_options
    from vl_models.members import ENCODE_IMAGE_TOKENS, IMAGE_TOWER, RERANKER, TOKENS

    members = released_members(Path(path_utils.serving_model_path(model.uri)), reranker)
    if IMAGE_TOWER not in members:  # a release of a reranker alone is not searched
        return
    reads_apart = None
    if RERANKER in members:
        reads_apart = read_signatures(members[RERANKER]).get(ENCODE_IMAGE_TOKENS)
    embeddings_dir, tokens_dir = Path(index.uri, "embeddings"), Path(index.uri, "image_tokens")
    image_tower = str(members[IMAGE_TOWER])
    kept = kept_index(serving_root, members)
    reader = None
    if reads_apart is not None:
        reader = TokenReader(str(members[RERANKER]), str(tokens_dir), kept.of_tokens)
    with beam_pipeline as pipeline:
        encode_gallery(
            pipeline,
            gallery.uri,
            image_tower,
            str(embeddings_dir),
            batch_size,
            reader,
            kept.of_vectors,
        )
    ids, uris, contents, matrix = read_embeddings(embeddings_dir)
    use_file_system_options(json.loads(file_system_options))
    items = read_items_of(data)
    tokens = None
    if reads_apart is not None:
        width = reads_apart.widths[TOKENS]
        assert width is not None  # tokens of an export have a fixed shape
        tokens = read_image_tokens(tokens_dir, ids, width)
    build_index(
        matrix,
        ids,
        uris,
        Path(index.uri, "index"),
        kind=kind,
        source_prefix=gallery.get_string_custom_property(IMAGES_ROOT) or None,
        image_tokens=tokens,
        items=None if items is None else items_of(items, ids),
        contents=contents,
        queries=read_logged_queries(Path(relevance.uri)),
    )
    shutil.rmtree(tokens_dir, ignore_errors=True)  # the index holds them
    logging.info("Index of %d images, %d dimensions", *matrix.shape)
