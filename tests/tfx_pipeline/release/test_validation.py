"""The check before a release: it passes what is right, and says what is wrong."""

import re
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from serving.index import build_index
from serving.release import Release
from tests.proxies import CountingProxy
from tfx_pipeline.release import validation
from tfx_pipeline.release.validation import validate_serving


@pytest.mark.parametrize(
    ("key", "served", "expected", "problem"),
    [
        ("embedding", [[1.0, 0.0]], [[1.0, 0.0]], None),
        ("embedding", [[0.5, 0.0]], [[0.5, 0.0]], "embeddings are not of unit norm"),
        ("embedding", [[1.0, 1e-3]], [[1.0, 0.0]], "embedding: served and exported values differ"),
        ("score", [100.0, 1.001], [100.0, 1.0], None),  # relative to the largest
        ("tokens", np.float16([[2.0]]), np.float16([[2.002]]), None),  # one step of float16
        ("tokens", np.float16([[2.0]]), np.float16([[2.01]]), "tokens: served and exported values"),
        ("score", [np.nan], [np.nan], "score: the server returns values that are not finite"),
        ("score", [1.0], [1.0, 2.0], r"score is served with shape \(1,\)"),
        ("caption", [b"a", b"b"], [b"a", b"c"], "caption: 1 of 2 served rows differ"),
        ("code", [[7, 8]] * 20, [[7, 8]] * 19 + [[7, 9]], None),  # one bit near zero
    ],
)
def test_what_is_wrong_with_a_served_tensor(key, served, expected, problem):
    kind = getattr(served, "dtype", np.float32)
    kind = None if isinstance(served[0], bytes) or key == "code" else kind
    found = validation._difference(key, np.array(served, kind), np.array(expected, kind))
    if problem is None:
        assert found is None
    else:
        assert re.match(problem, found)


@pytest.fixture
def candidate(tiny_run, tmp_path):
    """A copy of what the tiny run released, and the arguments to validate it with."""
    pipeline = tiny_run.output / "pipeline"
    [relevance] = pipeline.glob("ClickExampleGen/relevance/*/relevance.parquet")
    [gallery] = pipeline.glob("ClickExampleGen/gallery/*")
    towers = tmp_path / "towers"
    for name, version in Release.load(tiny_run.serving).models.items():
        shutil.copytree(tiny_run.serving / name / str(version), towers / name)
    [index] = pipeline.glob("IndexBuilder/index/*/index")
    shutil.copytree(index, tmp_path / "index")
    return {
        "models_dir": towers,
        "index_dir": tmp_path / "index",
        "gallery_dir": gallery,
        "relevance_path": relevance,
        "staging_dir": tmp_path / "staged",
        "queries": 8,
    }


@pytest.mark.slow
def test_a_good_candidate_passes_and_leaves_nothing_behind(candidate, monkeypatch):
    with CountingProxy() as proxy:
        for name, value in {**proxy.environment, "no_proxy": "", "NO_PROXY": ""}.items():
            monkeypatch.setenv(name, value)  # of a company, say: not for loopback
        assert validate_serving(**candidate) is None
    assert proxy.requests == []
    assert not candidate["staging_dir"].exists()


@pytest.mark.slow
def test_an_index_of_other_towers_is_found_out(candidate):
    items = pq.read_table(candidate["index_dir"] / "items.parquet")
    vectors = np.random.default_rng(0).normal(size=(len(items), 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    shutil.rmtree(candidate["index_dir"])
    ids, uris = items["id"].to_pylist(), items["uri"].to_pylist()
    build_index(vectors, ids, uris, candidate["index_dir"])

    problem = validate_serving(**candidate)

    assert problem is not None
    assert "gallery images find themselves in the index" in problem


@pytest.mark.slow
def test_a_tower_that_cannot_be_loaded_is_named(candidate):
    broken = candidate["models_dir"] / "text_tower" / "saved_model.pb"
    broken.write_bytes(b"not a SavedModel")

    problem = validate_serving(**candidate)

    assert problem is not None
    assert problem.startswith("the staged release cannot be served:")
    assert "text_tower" in problem
    assert not candidate["staging_dir"].exists()
