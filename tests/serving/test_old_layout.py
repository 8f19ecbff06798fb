"""A release root from before releases had weights: served, searched, compared, rolled back to."""

import json

import pytest

from serving.publish import publish_release, roll_back
from serving.release import Release
from serving.search import SearchService, embedded_server
from tfx_pipeline.release.place import current_metrics, place_release

# The keys of a manifest as it was written then, sorted.
_KEYS = ["created", "data_span", "index", "lineage", "metrics", "models", "previous", "version"]


@pytest.fixture
def old_root(tmp_path, publish):
    """A root with the releases 1 and 2, in the old form to the letter."""
    root = tmp_path / "release"
    publish(root, 1)
    publish(root, 2)
    for path in (root / "release.json", *(root / "releases").glob("*.json")):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        old = {key: manifest[key] for key in _KEYS}
        path.write_text(json.dumps(old, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    assert not (root / "weights").exists()
    return root


def first_hit(root):
    with embedded_server(root) as client:
        service = SearchService(root, client)
        return service.search(["猫"], 1)[0][0].uri, service.release.version


def test_it_is_served_and_searched(old_root):
    assert Release.load(old_root).weights is None
    assert first_hit(old_root) == ("version-2/猫", 2)


def test_it_is_the_baseline(old_root):
    assert current_metrics(old_root) == {"recall@10": 0.5}
    placed = place_release(old_root, "a key", "now")
    assert (placed.version, placed.baseline) == (3, '{"recall@10": 0.5}')


def test_it_is_rolled_back_to_from_a_release_with_weights(old_root, release_parts, tmp_path):
    towers, index = release_parts(3)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "weights.safetensors").write_bytes(b"numbers")
    release = publish_release(old_root, 3, towers, index, weights=tmp_path / "weights")
    assert (release.previous, release.weights) == (2, 3)
    assert (old_root / "weights" / "3" / "weights.safetensors").read_bytes() == b"numbers"
    assert first_hit(old_root) == ("version-3/猫", 3)
    back = roll_back(old_root)
    assert (back.version, back.previous, back.weights) == (2, 1, None)
    assert first_hit(old_root) == ("version-2/猫", 2)
    assert roll_back(old_root).version == 1


def test_a_release_whose_weights_are_gone_is_served(old_root, release_parts, tmp_path):
    towers, index = release_parts(3)
    (tmp_path / "weights").mkdir()
    publish_release(old_root, 3, towers, index, weights=tmp_path / "weights")
    (old_root / "weights" / "3" / "MODEL_CARD.md").unlink()
    (old_root / "weights" / "3").rmdir()
    assert first_hit(old_root) == ("version-3/猫", 3)
