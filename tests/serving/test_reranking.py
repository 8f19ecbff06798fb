"""Reranking over gRPC on real servers: whose order an answer has, and that it says so."""

import json
from pathlib import Path

import numpy as np
import pytest

from serving.client import PredictClient
from serving.errors import ServingError
from serving.model_server.server import ModelServer, ServerOptions
from serving.publish import publish_release
from serving.release import Release
from serving.rerank_settings import RerankSettings
from serving.search import SearchService, embedded_server
from tests.serving.rerankers import BRIGHTNESS, OF_TOKENS, reranked_parts

QUERIES = ["red shoe", "猫"]


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return reranked_parts(tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="module")
def root(parts, tmp_path_factory):
    """A release whose index holds the tokens of its pictures."""
    root = tmp_path_factory.mktemp("reranked") / "root"
    publish_release(root, 1, *parts, rerank=RerankSettings("sum", 0.0, 2))
    return root


@pytest.fixture(scope="module")
def client(root):
    with embedded_server(root) as client:
        yield client


@pytest.fixture(scope="module")
def service(root, client):
    return SearchService(root, client)


def by_brightness(hits, count):
    """Ids with the first ones in the reranker's order."""
    first = sorted(hits[:count], key=lambda hit: -BRIGHTNESS[hit.id])
    return [hit.id for hit in [*first, *hits[count:]]]


@pytest.mark.parametrize("count", [1, 3, 5, 99])
def test_the_first_images_of_the_towers_are_ordered_by_the_reranker(service, count):
    towers = service.search(QUERIES, 5, rerank=0)
    answers = service.search(QUERIES, 5, rerank=count, order="score")
    for before, after in zip(towers, answers, strict=True):
        assert (before.ranking, after.ranking, after.note) == ("tower", "reranker", "")
        assert [hit.id for hit in after] == by_brightness(before, count)
        cosines = {hit.id: hit.score for hit in before}
        for place, hit in enumerate(after):
            assert hit.score == pytest.approx(cosines[hit.id])
            expected = OF_TOKENS + BRIGHTNESS[hit.id] / 255 if place < count else None
            assert hit.rerank_score == pytest.approx(expected, abs=1e-3)


def test_a_reranker_looks_at_more_images_than_are_shown(service):
    [all_of_them] = service.search(["猫"], 5, rerank=0)
    [best] = service.search(["猫"], 1, rerank=5, order="score")
    assert [hit.id for hit in best] == ["bicycle"] == by_brightness(all_of_them, 5)[:1]


def test_the_query_is_read_with_the_image(service):
    [dark] = service.search(["dark"], 5, rerank=5, order="score")
    assert [hit.id for hit in dark] == sorted(BRIGHTNESS, key=BRIGHTNESS.get)


@pytest.mark.parametrize("weight", [0.0, 0.5, 100.0])
def test_a_sum_weighs_the_score_against_the_cosine(service, weight):
    [towers] = service.search(["猫"], 5, rerank=0)
    [hits] = service.search(["猫"], 5, rerank=5, order="sum", weight=weight)
    value = {hit.id: hit.score + weight * BRIGHTNESS[hit.id] / 255 for hit in towers}
    assert [hit.id for hit in hits] == sorted(value, key=value.get, reverse=True)
    assert hits.ranking == "reranker"


def test_the_release_says_how_and_the_caller_may_differ(root, service):
    assert Release.load(root).rerank == {"order": "sum", "weight": 0.0, "candidates": 2}
    [released] = service.search(["猫"], 5)
    assert [hit.rerank_score is None for hit in released] == [False] * 2 + [True] * 3
    [towers] = service.search(["猫"], 5, rerank=0)
    assert [hit.id for hit in released] == [hit.id for hit in towers]
    [other] = service.search(["猫"], 5, order="score")
    assert [hit.id for hit in other] == by_brightness(towers, 2)


def test_many_pairs_go_in_several_requests(service, monkeypatch):
    queries = ["red shoe", "猫", "dark", "tea pot"]
    whole = service.search(queries, 5, rerank=5)
    monkeypatch.setattr("serving.reranking._ROWS", 3)
    assert service.search(queries, 5, rerank=5) == whole


def test_a_late_reranker_leaves_the_towers_order_and_that_is_said(service, caplog):
    [towers] = service.search(["slow"], 5, rerank=0)
    [hits] = service.search(["slow"], 5, rerank=5, deadline=0.3)
    assert (hits, hits.ranking) == (towers, "tower")
    assert hits.note == "The towers' order, without the reranker: it took longer than 0.3 s"
    assert hits.note in caplog.text
    [in_time] = service.search(["slow"], 5, rerank=5, deadline=30, order="score")
    assert in_time.ranking == "reranker"
    assert [hit.id for hit in in_time] == by_brightness(towers, 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rerank": -1}, "rerank is a whole number, at least 0. Received: rerank=-1"),
        ({"deadline": 0.0}, "deadline is a number of seconds above 0. Received: 0.0"),
        ({"deadline": "1"}, "deadline is a number of seconds above 0. Received: '1'"),
        ({"deadline": float("nan")}, "deadline is a number of seconds above 0. Received: nan"),
        ({"order": "best"}, "is one of score, sum. Received: order='best'"),
        ({"weight": float("inf")}, "is a finite number. Received: weight=inf"),
    ],
)
def test_what_cannot_be_asked(service, arguments, message):
    with pytest.raises(ServingError, match=message):
        service.search(["猫"], 1, **arguments)


def test_a_release_without_a_reranker_says_so_only_where_one_is_asked_for(release_root):
    with embedded_server(release_root) as client:
        service = SearchService(release_root, client)
        assert service.search(["猫"], 1)[0].ranking == "tower"
        with pytest.raises(ServingError, match=r"Release 1 of .* has no reranker\. Release one"):
            service.search(["猫"], 1, rerank=8)
    assert Release.load(release_root).rerank is None


def test_images_are_read_where_the_index_has_no_tokens(tmp_path):
    models, index = reranked_parts(tmp_path, tokens=False)
    root = tmp_path / "root"
    publish_release(root, 1, models, index)
    with embedded_server(root) as client:
        service = SearchService(root, client)
        [towers] = service.search(["猫"], 5, rerank=0)
        [hits] = service.search(["猫"], 5)
        assert [hit.id for hit in hits] == by_brightness(towers, 5)
        assert hits[0].rerank_score == pytest.approx(1.0)  # of bytes
        lost = towers[1]
        Path(lost.uri).unlink()
        [hits] = service.search(["猫"], 5)
        assert hits[1] == lost and hits.ranking == "reranker"
        others = [hit for hit in towers if hit != lost]
        assert [hit.id for hit in hits if hit != lost] == by_brightness(others, 4)
        assert hits.note.startswith("1 of 5 images keep their place in the towers' order: the")
        elsewhere = SearchService(root, client, read_images=lambda hits, _: [None] * len(hits))
        [hits] = elsewhere.search(["猫"], 5)
        assert (hits, hits.ranking) == (towers, "tower")
        assert hits.note.startswith("5 of 5 images keep their place")


def test_the_index_belongs_to_one_reranker(parts, tmp_path):
    models, index = parts
    towers = {name: folder for name, folder in models.items() if name != "reranker"}
    with pytest.raises(ServingError, match=r"holds the image tokens of a reranker, and the rel"):
        publish_release(tmp_path / "none", 1, towers, index)
    root = tmp_path / "root"
    for version in (1, 2):
        publish_release(root, version, models, index)
    assert json.loads((root / "index/2/index.json").read_text())["image_tokens"] == {
        "reranker_version": 2,
        "shape": [2, 1],
    }
    assert "image_tokens.npy" in Release.load(root).checksums["index"]
    manifest = json.loads((root / "release.json").read_text())
    manifest["models"]["reranker"] = 1
    (root / "release.json").write_text(json.dumps(manifest))
    message = r"index/2 belong to reranker version 2, release 2 names version 1\. Publish it again"
    with embedded_server(root) as client, pytest.raises(ServingError, match=message):
        SearchService(root, client)


def test_a_release_is_searched_only_where_its_reranker_is_served(root):
    towers = f'config {{ name: "text_tower" base_path: "{root}/text_tower" '
    config = root.parent / "towers.config"
    config.write_text(f'model_config_list {{ {towers} model_platform: "tensorflow" }} }}')
    options = ServerOptions(port=None, rest_api_port=0, model_config_file=str(config))
    with (
        ModelServer(options) as server,
        PredictClient(f"127.0.0.1:{server.grpc_port}") as client,
        pytest.raises(ServingError, match=r"serves neither release 1 .* nor the one before"),
    ):
        SearchService(root, client)


def test_hits_are_lists_that_compare_as_such(service):
    [hits] = service.search(["猫"], 2)
    assert hits == list(hits) and isinstance(hits, list)
    assert hits.release == service.release.version == 1
    np.testing.assert_array_equal([hit.row >= 0 for hit in hits], True)
