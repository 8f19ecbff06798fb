"""Another gallery, the same towers: what is new is encoded and found; nothing is trained."""

import collections
import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from serving.index import SearchIndex
from serving.release import Release
from serving.search import SearchService, embedded_server
from tests.tfx_pipeline.conftest import TinyRun, vlsearch

pytestmark = pytest.mark.slow

GONE, CHANGED = "u1f600", "u1f601"


def index_of(root, release):
    return SearchIndex.load(root / "index" / str(release.index))


@pytest.fixture(scope="module")
def indexed(tiny_run, tmp_path_factory):
    """The tiny run's release and a changed gallery, indexed twice; and what was told."""
    place = tmp_path_factory.mktemp("indexed")
    output, data = place / "output", place / "data"
    shutil.copytree(tiny_run.serving, output / "serving", symlinks=True)
    shutil.copytree(tiny_run.data, data)
    images = data / "images"
    for number in range(3):
        Image.new("RGB", (50, 40), (40 * number, 200, 90)).save(images / f"new-{number}.png")
    (images / f"{GONE}.png").unlink()
    Image.new("RGB", (50, 40), (200, 30, 30)).save(images / f"{CHANGED}.png")
    items = (data / "items.csv").read_text(encoding="utf-8")
    (data / "items.csv").write_text(items + '"new-0","a green thing",,,,\n', encoding="utf-8")
    command = TinyRun(data, output).command()
    told = [vlsearch(*command, "--index-only").stdout for _ in range(2)]
    return output, data, told


def test_the_towers_stay_and_the_index_is_another(indexed):
    output, _, told = indexed
    release = Release.load(output / "serving")
    before = Release.load(output / "serving", release.previous)
    assert (release.version, release.index, before.version) == (2, 2, 1)
    assert release.models == before.models
    assert release.weights == before.weights and release.metrics == before.metrics
    assert "As told: the towers of the current release stay, and get another index." in told[0]
    assert "Trainer " not in told[0] and "IndexPusher" in told[0]
    assert release.lineage["towers_of"] == before.version
    description = json.loads((output / f"serving/index/{release.index}/index.json").read_text())
    assert description["tower_version"] == before.version


def test_the_same_again_is_nothing_new(indexed):
    _, _, told = indexed
    assert told[1].count("cached") == 5
    assert told[0].splitlines()[-1] == told[1].splitlines()[-1]  # the same version


def test_new_and_changed_images_are_encoded_and_others_are_not(indexed):
    output, data, _ = indexed
    root = output / "serving"
    now, before = (index_of(root, Release.load(root, v)) for v in (2, 1))
    assert set(now.ids) - set(before.ids) == {"new-0", "new-1", "new-2"}
    assert set(before.ids) - set(now.ids) == {GONE}
    # Two images of one content share what was encoded of one of them.
    times = collections.Counter(before.items.contents())
    single = {i for i, content in zip(before.ids, before.items.contents()) if times[content] == 1}
    kept = sorted(set(now.ids) & single - {CHANGED})
    assert len(kept) > 40
    vectors = [one.vectors([one.items.row_of(item) for item in kept]) for one in (now, before)]
    np.testing.assert_array_equal(*vectors)  # to the bit: they were taken over
    [changed, was] = (one.vectors([one.items.row_of(CHANGED)]) for one in (now, before))
    assert np.abs(changed - was).max() > 1e-3
    assert now.source_prefix == str(data / "images")
    assert now.items.values(now.items.row_of("new-0")) == {"name": "a green thing"}


def test_a_running_search_finds_what_is_new(indexed):
    output, data, _ = indexed
    with embedded_server(output / "serving") as client:
        service = SearchService(output / "serving", client)
        from serving.query_parts import QueryPart
        from serving.search import SearchRequest

        image = (data / "images" / "new-2.png").read_bytes()
        found = service.answer(SearchRequest([QueryPart(image=image)], k=3))
        assert found.hits[0].id == "new-2" and found.hits[0].score == pytest.approx(1, abs=1e-3)
        assert [hit for [hit] in service.search(["smiling face"], 1)]


def test_queries_and_items_are_in_the_index(indexed):
    output, _, _ = indexed
    release = Release.load(output / "serving")
    folder = output / "serving" / "index" / str(release.index)
    queries = pq.read_table(folder / "queries.parquet").to_pylist()
    assert queries and all(row["clicks"] >= 1 and row["sessions"] >= 1 for row in queries)
    assert all(sorted(r["image_clicks"], reverse=True) == r["image_clicks"] for r in queries)
    index = index_of(output / "serving", release)
    row = index.items.row_of(CHANGED)
    assert index.items.values(row)["name_zh"]
    assert {"name", "group", "kind", "characters"} <= set(index.items.columns)


def test_it_can_be_told_to_train_or_not_to(indexed, tmp_path):
    _, data, _ = indexed
    empty = TinyRun(data, tmp_path / "empty").command()
    refused = vlsearch(*empty, "--index-only", check=False)
    assert refused.returncode == 2
    assert "has no release with an index. Run without it first." in refused.stderr
