"""The checks of finished Examples: what is found, what it says, and when it fails the run."""

import json
import shutil

import pytest
from PIL import Image

from tfx_pipeline.data.checks import is_flat
from tfx_pipeline.data.config import ChecksConfig, ImageConfig, SplitConfig
from tfx_pipeline.data.images import encode_image
from vl_models.errors import UserError

ALL_TRAIN = SplitConfig(train=1, val=0, test=0)


def row(query, image_id, **more):
    return {"query": query, "image_id": image_id, "clicked": 1} | more


def warnings(caplog):
    return [r.getMessage() for r in caplog.records if r.name == "tfx_pipeline.data.checks"]


@pytest.fixture
def good_log(tmp_path, write_log):
    rows = [
        row("red", "a", split="train"),
        row("blue", "b", split="val"),
        row("green", "c", split="test"),
    ]
    return write_log(tmp_path / "good.jsonl", rows)


def test_good_data_say_nothing(good_log, build, caplog):
    run = build([good_log], splits=SplitConfig(policy="given"), checks=ChecksConfig())
    assert warnings(caplog) == []
    assert run.summary["checks"]["flat_images"] == {
        "count": 0,
        "of": 6,
        "bound": 0.5,
        "examples": [],
        "message": "",
        "failed": False,
    }
    assert [r["count"] for r in run.summary["checks"].values()] == [0, 0, 0, 3, 0]
    written = json.loads((run.root / "rejected" / "summary.json").read_text("utf-8"))
    assert written["checks"] == run.summary["checks"]


@pytest.mark.parametrize("size", [(16, 16), (40, 30), (900, 20), (600, 500)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("color", ["white", (10, 200, 30)])
def test_single_colours_are_flat(tmp_path, size, kind, color):
    flat = Image.new("RGB", size, color)
    path = tmp_path / "flat"
    config = ImageConfig(shorter_side=256, quality=100)
    flat.save(path, kind)
    assert is_flat(encode_image(path.read_bytes(), config))
    flat.paste((128, 0, 0), (0, 0, size[0], size[1] // 8))
    flat.save(path, kind)
    assert not is_flat(encode_image(path.read_bytes(), config))


def test_flat_images_are_counted_and_named(good_log, store, build, caplog):
    for name in ("c.png", "f.png"):
        Image.new("RGB", (40, 30), "red" if name == "c.png" else "grey").save(store / name)
    given = SplitConfig(policy="given")
    run = build([good_log], splits=given)
    message = (
        "2 of 6 images (33.3%) are of a single colour, e.g. c, f. They may stand for missing "
        "pictures: replace them, or take out their rows."
    )
    assert warnings(caplog) == [message]
    assert run.summary["checks"]["flat_images"]["examples"] == ["c", "f"]
    with pytest.raises(UserError) as error:
        build([good_log], splits=given, checks=ChecksConfig(max_flat_fraction=0.3))
    assert str(error.value) == (
        f"{message} (data.checks.max_flat_fraction is 0.3; null lets the run go on with a warning.)"
    )
    build([good_log], splits=given, checks=ChecksConfig(max_flat_fraction=None))


def test_duplicates_are_counted_over_all_shards(good_log, store, build, caplog):
    for name in "defghijk":
        shutil.copy(store / "a.jpg", store / f"{name}.jpg")
    (store / "f.png").unlink()
    with Image.open(store / "c.png") as image:
        image.save(store / "other form.bmp")
    with pytest.raises(UserError) as error:
        build([good_log], splits=SplitConfig(policy="given"))
    assert str(error.value) == (
        "9 of 12 images (75.0%) have the content of another id, e.g. d = a, e = a, f = a. Give a "
        "picture one id; only the split policy by_image keeps all its ids in one split. "
        "(data.checks.max_duplicate_fraction is 0.5; null lets the run go on with a warning.)"
    )


def test_copies_of_an_image_are_in_the_split_of_the_first(tmp_path, store, write_log, build):
    names = [f"copy {i:02}" for i in range(30)]
    for name in names:
        shutil.copy(store / "c.png", store / f"{name}.png")
    rows = [row(f"query {i}", name) for i, name in enumerate(["a", "c", "e", *names])]
    log = write_log(tmp_path / "log.jsonl", rows)
    config = SplitConfig(policy="by_image", train=0.5, val=0.25, test=0.25)
    run = build([log], splits=config, checks=ChecksConfig(max_duplicate_fraction=None))
    of_image = {r["image_id"]: r["split"] for r in run.relevance}
    assert len(of_image) == 33
    assert {of_image[name] for name in names} == {of_image["c"]}
    alone = write_log(tmp_path / "alone.jsonl", rows[:3])
    for name in names:
        (store / f"{name}.png").unlink()
    before = {r["image_id"]: r["split"] for r in build([alone], splits=config).relevance}
    assert before == {name: of_image[name] for name in "ace"}


def test_one_query_is_refused(tmp_path, write_log, build, caplog):
    log = write_log(tmp_path / "log.jsonl", [row("Red ", "a"), row("red", "b")])
    message = (
        "The pairs have 1 distinct query, e.g. red: too few to learn to tell one from another. "
        "Check the column query, or bring more rows."
    )
    with pytest.raises(UserError) as error:
        build([log], splits=ALL_TRAIN, checks=ChecksConfig())
    assert str(error.value).startswith(f"{message} (data.checks.min_queries is 2; null")
    build([log], splits=ALL_TRAIN, checks=ChecksConfig(min_queries=None))
    assert message in warnings(caplog)


def test_empty_splits_are_reported_and_refused_on_demand(tmp_path, write_log, build, caplog):
    log = write_log(tmp_path / "log.jsonl", [row("q", "a", split="train")])
    given = SplitConfig(policy="given")
    run = build([log], splits=given)
    message = (
        "Nothing is in the split val and test; pairs by split: train 1, val 0, test 0. Bring more "
        "rows, or change `splits` in data.yaml."
    )
    assert message in warnings(caplog)
    assert run.summary["checks"]["empty_splits"]["count"] == 2
    with pytest.raises(UserError, match=r"val and test.* \(data\.checks\.max_empty_splits is 1;"):
        build([log], splits=given, checks=ChecksConfig(min_queries=None, max_empty_splits=1))


def test_dates_before_1990_are_refused(tmp_path, write_log, build):
    days = ["1970-08-21", "2026-01-02", "2026-01-03", "2026-01-04", "1989-12-31T23:59:59"]
    rows = [row(f"q{i}", "a", timestamp=day) for i, day in enumerate(days)]
    log = write_log(tmp_path / "log.csv", rows)
    with pytest.raises(UserError) as error:
        build([log], splits=SplitConfig(policy="by_time"))
    assert str(error.value) == (
        f"2 of 5 rows (40.0%) are dated before 1990, e.g. {log}, row 1 (1970-08-21). Write "
        "timestamp as ISO 8601, or in seconds since 1970. (data.checks.max_early_fraction is "
        "0.01; null lets the run go on with a warning.)"
    )
    build([log], splits=ALL_TRAIN)  # where nothing reads them, they may be what they are


def test_queries_of_invisible_characters_are_missing(tmp_path, write_log, build):
    rows = [row("red", "a"), row("\u200bred\ufeff", "a"), row("\u200b\ufeff\u200d", "b")]
    log = write_log(tmp_path / "log.csv", rows)
    run = build([log], splits=ALL_TRAIN, max_rejected_fraction=0.5)
    assert [(r["query"], r["image_id"], r["clicks"]) for r in run.relevance] == [("red", "a", 2)]
    found = [(r["reason"], r["row"], r["message"]) for r in run.rejected]
    assert found == [("missing_query", 3, "query is empty after normalisation")]
