import json

import pytest

from serving.errors import ServingError
from serving.release_manifest import parse_manifest
from serving.rerank_settings import RerankSettings, are_settings


def test_what_a_manifest_lacks_is_as_usual():
    assert RerankSettings.of(None) == RerankSettings("score", 1.0, 32)
    settings = RerankSettings.of({"order": "sum", "weight": 2, "of a later version": 1})
    assert settings == RerankSettings("sum", 2, 32)
    assert RerankSettings.of(settings.to_json()) == settings


@pytest.mark.parametrize(
    "value",
    [
        {"order": "best"},
        {"order": None},
        {"weight": float("nan")},
        {"weight": True},
        {"weight": "1"},
        {"candidates": 0},
        {"candidates": 1.5},
    ],
)
def test_values_that_cannot_be(value):
    with pytest.raises(ServingError):
        RerankSettings.of(value)
    assert not are_settings(value)


def test_a_manifest_is_refused_with_them():
    manifest = {"version": 1, "models": {"reranker": 1}, "index": None, "previous": None}
    good = manifest | {"rerank": {"order": "sum", "weight": 0.5, "candidates": 8}}
    assert parse_manifest(json.dumps(good), "release.json") == good
    bad = manifest | {"rerank": {"order": "best"}}
    with pytest.raises(ServingError) as error:
        parse_manifest(json.dumps(bad), "releases/1.json")
    assert str(error.value) == (
        "releases/1.json: 'rerank' must be null or an object of order (score or sum), weight (a "
        "finite number) and candidates (a whole number from 1 on). Restore it from a copy. "
        "Received: rerank={'order': 'best'}."
    )
