"""The check before a release: a real server on a staged copy must answer rightly."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from serving.errors import ServingError
from serving.index import SearchIndex
from serving.publish import stage_release
from serving.search import SearchService, embedded_server
from tfx_pipeline.release import samples

_STAGED_VERSION = 1
_TOLERANCE = 1e-4  # a server may batch, and so sum, in another order
_HITS = 10


def validate_serving(
    towers_dir: Path,
    index_dir: Path,
    gallery_dir: Path,
    relevance_path: Path,
    staging_dir: Path,
    queries: int,
) -> str | None:
    """Serve a staged copy of a release on loopback and compare its answers.

    Checked are: the server loads every tower (warm-up included); embeddings over gRPC are
    those of the SavedModel, finite and of unit norm; an image of the gallery, encoded by the
    served image tower, is found at its own place in the index; searches return hits.

    Args:
      towers_dir: exported towers, one folder each.
      index_dir: the built index.
      gallery_dir: Examples of the gallery.
      relevance_path: Parquet file whose queries are asked.
      staging_dir: where the staged copy goes while it is served; an empty or no folder.
      queries: number of queries and of images to try.

    Returns:
      None if all is well, else what is wrong.
    """
    towers = {path.name: path for path in sorted(towers_dir.iterdir()) if path.is_dir()}
    texts = samples.sample_queries(relevance_path, queries)
    images = samples.sample_examples(f"{gallery_dir}/*.gz", queries)
    try:
        stage_release(staging_dir, _STAGED_VERSION, towers=towers, index=index_dir)
        with embedded_server(staging_dir) as client:
            served_texts = client.predict("text_tower", {"query": texts}, version=_STAGED_VERSION)[
                "embedding"
            ]
            served_images = client.predict(
                "image_tower",
                {"image_bytes": [image.encoded for image in images]},
                version=_STAGED_VERSION,
            )["embedding"]
            hits = SearchService(staging_dir, client).search(texts, _HITS)
    except ServingError as error:
        return f"the staged release cannot be served: {error}"
    finally:
        shutil.rmtree(staging_dir, ignore_errors=True)
    return (
        _compare("text_tower", served_texts, _reference(towers["text_tower"], query=texts))
        or _find_themselves(served_images, [image.image_id for image in images], index_dir)
        or (None if all(hits) else "a query came back without any hit")
    )


def _reference(tower: Path, query: Sequence[str]) -> np.ndarray:
    """Embeddings by the SavedModel itself, in this process."""
    import tensorflow as tf
    import tensorflow_text  # noqa: F401 -- registers the tokeniser's ops

    loaded = tf.saved_model.load(str(tower))
    return loaded.signatures["encode_text"](query=tf.constant(list(query)))["embedding"].numpy()


def _compare(name: str, served: np.ndarray, expected: np.ndarray) -> str | None:
    """Say what is wrong with served embeddings, if anything."""
    if not np.isfinite(served).all():
        return f"{name}: the server returns values that are not finite"
    difference = float(np.abs(served - expected).max())
    if difference > _TOLERANCE:
        return f"{name}: served and exported embeddings differ by {difference:.2g}"
    deviation = float(np.abs(np.linalg.norm(served, axis=1) - 1).max())
    if deviation > _TOLERANCE:
        return f"{name}: embeddings are not of unit norm (off by {deviation:.2g})"
    return None


def _find_themselves(vectors: np.ndarray, ids: Sequence[str], index_dir: Path) -> str | None:
    """Every image must score in the index as high as the best hit for its own vector.

    Not "be the best hit": two files may hold the same picture, an approximate index may miss
    one now and then, and of hash codes more may be equal than there are hits.
    """
    found = 0
    for image_id, hits in zip(ids, SearchIndex.load(index_dir).search(vectors, _HITS)):
        least = hits[0].score - _TOLERANCE
        equal = [hit.id for hit in hits if hit.score >= least]
        found += image_id in equal or len(equal) == _HITS
    if found < 0.9 * len(ids):
        return (
            f"image_tower: only {found} of {len(ids)} gallery images find themselves in the "
            "index; the index was not built by this tower"
        )
    return None
