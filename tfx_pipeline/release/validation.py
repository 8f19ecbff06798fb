"""The check before a release: a real server on a staged copy must answer rightly."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from serving.client import PredictClient
from serving.errors import ServingError
from serving.index import SearchIndex
from serving.publish import stage_release
from serving.reranking import Hits
from serving.search import SearchService, embedded_server
from tfx_pipeline.release import samples
from tfx_pipeline.release.reranker import released_members
from tfx_pipeline.release.signatures import read_signatures
from vl_models.members import (
    DEFAULT_SIGNATURE,
    ENCODE_IMAGE,
    ENCODE_IMAGE_TOKENS,
    IMAGE_TOWER,
    RERANKER,
    TEXT_TOWER,
    TOKENS,
)

_STAGED_VERSION = 1
_TOLERANCE = 1e-4  # a server may batch, and so sum, in another order; of float16 two steps
_DIFFERENT_ROWS = 0.1  # so many words or codes may tip over to the other side by that
_HITS = 10


class _Answer(NamedTuple):
    """What a signature was asked, and what the server said."""

    inputs: dict[str, Any]
    outputs: dict[str, np.ndarray]


def validate_serving(
    models_dir: Path,
    index_dir: Path | None,
    gallery_dir: Path,
    relevance_path: Path,
    staging_dir: Path,
    queries: int,
    reranker: str = "",
) -> str | None:
    """Serve a staged copy of a release on loopback and compare its answers.

    Checked are: the server loads every model (warm-up included); what each signature answers
    over gRPC is what the SavedModel answers in this process, finite, embeddings of unit norm; an
    image of the gallery, encoded by the served image tower, is found at its own place in the
    index, and its tokens there are what the served reranker reads of it; searches return hits,
    in the reranker's order where there is one.

    Args:
        models_dir: exported members, one folder each.
        index_dir: the built index; None for a release that is not searched.
        gallery_dir: Examples of the gallery.
        relevance_path: Parquet file whose queries are asked.
        staging_dir: where the staged copy goes while it is served; an empty or no folder.
        queries: number of queries and of images to try.
        reranker: names one of another run that is released with these members; "" for none.

    Returns:
        None if all is well, else what is wrong.

    Raises:
        UserError: a signature has an input that there are no samples for.
    """
    models = released_members(models_dir, reranker)
    texts = samples.sample_queries(relevance_path, queries)
    images = samples.sample_examples(f"{gallery_dir}/*.gz", queries)
    no_image = samples.SampleExample("", b"", ())
    rows = [
        dataclasses.replace(image or no_image, queries=(text,) if text else ())
        for image, text in itertools.zip_longest(images, texts)
    ]
    hits: list[Hits] = []
    try:
        stage_release(staging_dir, _STAGED_VERSION, models=models, index=index_dir)
        with embedded_server(staging_dir) as client:
            answers = {name: _ask(client, name, path, rows) for name, path in models.items()}
            if index_dir is not None and TEXT_TOWER in models:
                service = SearchService(staging_dir, client)
                hits = service.search(texts, _HITS, rerank=0)
                # One is enough: where images are scored with each query, more would take minutes.
                hits += service.search(texts[:1], _HITS)
    except ServingError as error:
        return f"the staged release cannot be served: {error}"
    finally:
        shutil.rmtree(staging_dir, ignore_errors=True)
    for name, path in models.items():
        if problem := _compare(name, path, answers[name]):
            return problem
    if index_dir is not None:
        return _search_problem(SearchIndex.load(index_dir), models, answers, images, hits)
    return None


def _search_problem(
    index: SearchIndex,
    models: Mapping[str, Path],
    answers: Mapping[str, Mapping[str, _Answer]],
    images: Sequence[samples.SampleExample],
    hits: Sequence[Hits],
) -> str | None:
    """Say what is wrong with the index, or with the answers to searches of it, if anything."""
    ids = [image.image_id for image in images]
    if IMAGE_TOWER in models:
        vectors = answers[IMAGE_TOWER][ENCODE_IMAGE].outputs["embedding"]
        if problem := _find_themselves(vectors, ids, index):
            return problem
    if index.has_image_tokens and (problem := _same_tokens(answers[RERANKER], ids, index)):
        return problem
    if not all(hits):
        return "a query came back without any hit"
    # Without tokens the images are read, which may be where this machine cannot read them.
    if index.has_image_tokens and hits and hits[-1].ranking != "reranker":
        return f"reranker: a query was not reranked. {hits[-1].note}"
    return None


def _ask(
    client: PredictClient, name: str, model: Path, rows: Sequence[samples.SampleExample]
) -> dict[str, _Answer]:
    """Return what the server answers, by signature."""
    answers = {}
    own = samples.with_image_tokens(model, rows)
    for signature, described in sorted(read_signatures(model).items()):
        inputs = samples.sample_inputs(name, described.inputs, own)
        if inputs and signature != DEFAULT_SIGNATURE:
            outputs = client.predict(
                name, inputs, signature_name=signature, version=_STAGED_VERSION
            )
            answers[signature] = _Answer(inputs, dict(outputs))
    return answers


def _compare(name: str, model: Path, answers: Mapping[str, _Answer]) -> str | None:
    """Say what is wrong with the served answers of a model, if anything."""
    import tensorflow as tf
    import tensorflow_text  # noqa: F401 -- registers the tokeniser's ops

    loaded = tf.saved_model.load(str(model))
    for signature, answer in answers.items():
        inputs = {key: tf.constant(values) for key, values in answer.inputs.items()}
        for key, expected in loaded.signatures[signature](**inputs).items():
            problem = _difference(key, answer.outputs[key], expected.numpy())
            if problem:
                return f"{name}, {signature}: {problem}"
    return None


def _difference(key: str, served: np.ndarray, expected: np.ndarray) -> str | None:
    """Say what is wrong with one served tensor, if anything."""
    if served.shape != expected.shape:
        return f"{key} is served with shape {served.shape}, the export gives {expected.shape}"
    if not np.issubdtype(served.dtype, np.floating):
        unequal = (served != expected).reshape(len(served), -1).any(axis=1)
        if unequal.mean() > _DIFFERENT_ROWS:
            return f"{key}: {unequal.sum()} of {len(served)} served rows differ from the export's"
        return None
    if not np.isfinite(served).all():
        return f"{key}: the server returns values that are not finite"
    difference = float(np.abs(served.astype(np.float32) - expected).max())
    tolerance = max(_TOLERANCE, 2 * float(np.finfo(served.dtype).eps))
    if difference > tolerance * max(1.0, float(np.abs(expected).max())):
        return f"{key}: served and exported values differ by {difference:.2g}"
    if key == "embedding":
        deviation = float(np.abs(np.linalg.norm(served, axis=1) - 1).max())
        if deviation > _TOLERANCE:
            return f"embeddings are not of unit norm (off by {deviation:.2g})"
    return None


def _find_themselves(vectors: np.ndarray, ids: Sequence[str], index: SearchIndex) -> str | None:
    """Every image must score in the index as high as the best hit for its own vector.

    Not "be the best hit": two files may hold the same picture, an approximate index may miss
    one now and then, and of hash codes more may be equal than there are hits.
    """
    found = 0
    for image_id, hits in zip(ids, index.search(vectors, _HITS)):
        least = hits[0].score - _TOLERANCE
        equal = [hit.id for hit in hits if hit.score >= least]
        found += image_id in equal or len(equal) == _HITS
    if found < 0.9 * len(ids):
        return (
            f"image_tower: only {found} of {len(ids)} gallery images find themselves in the "
            "index; the index was not built by this tower"
        )
    return None


def _same_tokens(
    answers: Mapping[str, _Answer], ids: Sequence[str], index: SearchIndex
) -> str | None:
    """The index must hold of each image what the served reranker reads of it."""
    if ENCODE_IMAGE_TOKENS not in answers:
        return "the index holds image tokens, and the reranker reads none"
    row_of = {image_id: row for row, image_id in enumerate(index.ids)}
    if missing := [image_id for image_id in ids if image_id not in row_of]:
        return f"the index lacks the gallery's image {missing[0]!r}"
    stored = index.image_tokens([row_of[image_id] for image_id in ids])
    assert stored is not None
    served = answers[ENCODE_IMAGE_TOKENS].outputs[TOKENS]
    problem = _difference(TOKENS, served, stored)
    return None if problem is None else f"reranker, image tokens of the index: {problem}"
