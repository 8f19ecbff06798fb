"""The pipeline with a reranker of another run: evaluated, indexed, checked, released."""

import json
import shutil

import numpy as np
import pytest

from serving.release import Release
from tests.tfx_pipeline.conftest import TinyRun, vlsearch
from tests.vl_models.grid_reranker import make_grid_reranker
from tests.vl_models.test_export import TOKENIZER
from tfx_pipeline.release.reranker import fingerprint_reranker
from vl_models.export import export_members

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

RERANK = "{order: sum, weight: 0.5, candidates: 4}"


@pytest.fixture(scope="module")
def reranker(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reranker")
    export_members(make_grid_reranker(), TOKENIZER, folder / "towers")
    return folder


@pytest.fixture(scope="module")
def released(tiny_run, reranker, tmp_path_factory):
    """Output folder of the tiny run, whose towers are released once more, with the reranker."""
    output = tmp_path_factory.mktemp("reranked") / "output"
    shutil.copytree(tiny_run.output, output, symlinks=True)
    command = TinyRun(tiny_run.data, output).command()
    command += ["--set", f"release.reranker={reranker}", "--set", f"release.rerank={RERANK}"]
    told = vlsearch(*command).stdout
    assert told.count("cached") == 6  # all before the trainer, whose work folder is another here
    return output


def test_it_is_one_release_that_says_where_its_reranker_is_from(released, reranker):
    root = released / "serving"
    release = Release.load(root)
    assert release.models == dict.fromkeys(("image_tower", "reranker", "text_tower"), 2)
    assert release.rerank == {"order": "sum", "weight": 0.5, "candidates": 4}
    exported = str((reranker / "towers" / "reranker").resolve())
    fingerprint = fingerprint_reranker(reranker)
    assert release.lineage["reranker"] == {"from": exported, "fingerprint": fingerprint}
    card = (root / "reranker" / "2" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert f"of another run, {exported};" in card
    described = json.loads((root / "index" / "2" / "index.json").read_text())
    assert described["image_tokens"] == {"reranker_version": 2, "shape": [4, 3]}
    tokens = np.load(root / "index" / "2" / "image_tokens.npy", mmap_mode="r")
    assert (tokens.dtype, tokens.shape) == (np.float16, (described["count"], 4, 3))


def test_it_is_measured(released):
    metrics = Release.load(released / "serving").metrics
    gained = metrics["rerank/recall@10"] - metrics["recall@10"]
    assert metrics["rerank/recall@10_difference"] == pytest.approx(gained)
    assert {"rerank_tokens/mrr", "rerank/ms_per_query"} <= metrics.keys()
