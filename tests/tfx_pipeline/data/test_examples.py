"""The Beam graph end to end, without TFX: real files in, real files out."""

import base64
import datetime
import hashlib
import io
from pathlib import Path

import pytest
from PIL import Image

from tests.tfx_pipeline.data.conftest import noise_image
from tfx_pipeline.data.config import PropensityConfig, SplitConfig
from tfx_pipeline.data.examples import materialize_examples
from tfx_pipeline.data.folder import DataFolder
from vl_models.errors import UserError

ALL_TRAIN = SplitConfig(train=1, val=0, test=0)


def row(query, image_id, clicked=1, **more):
    return {"query": query, "image_id": image_id, "clicked": clicked} | more


def test_aggregation_in_closed_form(tmp_path, write_log, build):
    rows = [
        row("Red  Shoe", "a", position=1, language="en"),
        row("red shoe", "a.jpg", position=2),  # the same image, written with its suffix
        row("ｒｅｄ shoe", "b", position=4),
        row("red shoe", "b", clicked=0, position=1),
        row("红鞋", "a", position=20),
        row("green", "c", clicked=0, position=1),
    ]
    files = [write_log(tmp_path / "log.jsonl", rows)]
    propensity = PropensityConfig(mode="given", eta=1.0, clip=10)
    run = build(files, splits=ALL_TRAIN, propensity=propensity, source_name="shop")
    found = {(r["query"], r["image_id"]): (r["clicks"], r["weight"]) for r in run.relevance}
    assert found == {
        ("red shoe", "a"): (2, 1 + 2),
        ("red shoe", "b"): (1, 4),
        ("红鞋", "a"): (1, 10),  # 1 / (1 / 20), clipped
    }
    assert set(run.examples["train"]) == {"a", "b"}  # c was shown, not clicked
    assert not run.examples["val"] and not run.examples["test"]
    example = run.examples["train"]["a"]
    assert [q.decode() for q in example["query/text"]] == ["red shoe", "红鞋"]
    assert example["query/clicks"] == [2, 1]
    assert example["query/weight"] == [3, 10]
    assert example["query/clicks_total"] == [3, 1]
    assert example["query/language"] == [b"en", b"zh"]
    assert example["query/correlation"] == [b"strong", b"strong"]
    assert example["image/clicks_total"] == [3]
    assert example["source/type"] == [b"click"]
    assert example["source/name"] == [b"shop"]
    assert Image.open(io.BytesIO(example["image/encoded"][0])).size == (21, 16)
    assert set(run.gallery) == {"a", "b", "c", "d", "e", "f"}
    assert run.gallery["a"]["image/encoded"] == example["image/encoded"]
    assert run.gallery["a"]["image/uri"][0].decode().endswith("/images/a.jpg")
    assert run.rejected == []


def test_aggregated_rows_equal_single_rows(tmp_path, write_log, build):
    single = [row("q", "a"), row("q", "a"), row("q", "a", 0), row("r", "b")]
    summed = [
        {"query": "q", "image_id": "a", "clicks": 2, "impressions": 3},
        {"query": "r", "image_id": "b", "clicks": 1, "impressions": 1},
    ]
    runs = [
        build([write_log(tmp_path / f"{i}.csv", rows)], splits=ALL_TRAIN)
        for i, rows in enumerate((single, summed))
    ]
    assert runs[0].relevance == runs[1].relevance
    assert runs[0].examples == runs[1].examples


def digests(run):
    return {
        str(path.relative_to(run.root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(run.root.rglob("*"))
        if path.is_file()
    }


def test_order_of_rows_and_files_changes_no_byte(tmp_path, write_log, build):
    rows = [
        row(f"query {i % 7}", "abcdef"[i % 6], position=1 + i % 3, label=i % 6) for i in range(60)
    ]
    one = [write_log(tmp_path / "log.parquet", rows)]
    several = [
        write_log(tmp_path / "2/b.jsonl", rows[::-2]),
        write_log(tmp_path / "2/a.csv", rows[-2::-2]),
    ]
    first, second = build(one), build(several)
    assert digests(first) == digests(second)
    assert len([name for name in digests(first) if "Split-" in name]) == 6


def test_labels_are_collected_by_image(tmp_path, write_log, build):
    rows = [
        row("q", "a", label=2, label_text="shoe"),
        row("r", "a", label=1, label_text="red"),
        row("s", "a", 0, label=2, label_text="shoe"),
        row("s", "b"),
    ]
    run = build([write_log(tmp_path / "log.jsonl", rows)], splits=ALL_TRAIN)
    assert run.examples["train"]["a"]["label/id"] == [1, 2]
    assert run.examples["train"]["a"]["label/text"] == [b"red", b"shoe"]
    assert run.gallery["b"]["label/id"] == []


@pytest.mark.parametrize(
    ("labels", "ids", "texts"),
    [
        ([(2, "shoe"), (2, None), (None, "shoe")], [2], [b"shoe"]),  # halves of a whole one
        ([(None, "shoe"), (None, "red")], [], [b"red", b"shoe"]),
        ([(2, None), (1, None)], [1, 2], []),
        ([(2, None), (None, "shoe")], [], [b"shoe"]),  # nobody knows whose the id is
        ([(-1, "shoe")], [], [b"shoe"]),
    ],
)
def test_label_ids_and_texts_are_parallel_where_both_are_there(
    tmp_path, write_log, build, labels, ids, texts
):
    rows = [
        row(f"query {n}", "a", label=label, label_text=text)
        for n, (label, text) in enumerate(labels)
    ]
    run = build([write_log(tmp_path / "log.parquet", rows)], splits=ALL_TRAIN)
    assert run.examples["train"]["a"]["label/id"] == ids
    assert run.examples["train"]["a"]["label/text"] == texts


def test_given_splits_and_pairs_seen_earlier(tmp_path, write_log, build):
    rows = [
        row("q", "a", split="train"),
        row("q", "a", split="test"),  # a test pair that training has seen is dropped
        row("q", "b", split="test"),
        row("r", "c", split="val"),
        row("r", "d", split=None),
    ]
    run = build([write_log(tmp_path / "log.parquet", rows)], splits=SplitConfig(policy="given"))
    assert {(r["query"], r["image_id"]): r["split"] for r in run.relevance} == {
        ("q", "a"): "train",
        ("q", "b"): "test",
        ("r", "c"): "val",
    }
    assert run.summary["counters"]["pairs_dropped_seen_in_earlier_split"] == 1
    assert run.summary["counters"]["rows_without_split"] == 1
    assert set(run.examples["test"]) == {"b"}
    assert run.examples["test"]["b"]["query/clicks_total"] == [1]


def test_splits_by_time_fractions(tmp_path, write_log, build):
    rows = [row(f"q{d}", "a", timestamp=f"2026-01-{d:02d}T12:00:00") for d in range(1, 11)]
    rows.append(row("q1", "a", timestamp="2026-01-10T13:00:00"))  # seen in train
    splits = SplitConfig(policy="by_time", train=0.6, val=0.2, test=0.2)
    run = build([write_log(tmp_path / "log.csv", rows)], splits=splits)
    found = {r["query"]: r["split"] for r in run.relevance}
    assert [found[f"q{d}"] for d in range(1, 11)] == ["train"] * 7 + ["val"] * 2 + ["test"]


def test_estimated_propensities_are_reported(tmp_path, write_log, build):
    rows = [
        {"query": q, "image_id": i, "clicks": clicks, "impressions": 1000, "position": position}
        for q in ("q", "r")
        for i in "ab"
        for position, clicks in ((1, 400), (2, 200))
    ]
    run = build(
        [write_log(tmp_path / "log.parquet", rows)],
        splits=ALL_TRAIN,
        propensity=PropensityConfig(mode="estimated"),
    )
    assert run.summary["propensities"] == pytest.approx([1, 0.5], rel=0.01)
    assert [r["weight"] for r in run.relevance] == pytest.approx([800] * 4, rel=0.01)


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_image_bytes_in_the_row(tmp_path, write_log, build, store, suffix):
    data = (store / "a.jpg").read_bytes()
    value = base64.b64encode(data).decode() if suffix == "jsonl" else data
    rows = [row("q", "x", image_bytes=value), row("r", "x", image_bytes=value), row("q", "y")]
    log = write_log(tmp_path / f"log.{suffix}", rows)
    run = build([log], root=None, splits=ALL_TRAIN, max_rejected_fraction=0.5)
    assert set(run.gallery) == {"x"}
    assert run.gallery["x"]["image/uri"] == [f"{log}#row=1".encode()]
    assert [q.decode() for q in run.examples["train"]["x"]["query/text"]] == ["q", "r"]
    [bad] = run.rejected
    assert bad["reason"] == "image_missing"
    assert (
        bad["message"] == "image 'y': image id 'y' has no image file and its rows have no image_uri"
    )
    assert not list(run.root.rglob(".spilled"))
    assert set(bad["content"]) == {"file", "image_id"}


def test_image_uris(tmp_path, write_log, build, store):
    rows = [
        row("q", "1", image_uri=f"file://{store}/a.jpg"),
        row("q", "2", image_uri=str(store / "b.jpg")),
    ]
    run = build([write_log(tmp_path / "log.csv", rows)], root=None, splits=ALL_TRAIN)
    assert set(run.gallery) == {"1", "2"}
    assert run.gallery["1"]["image/uri"] == [str(store / "a.jpg").encode()]


def test_bad_images_are_reported_once_with_the_rows_behind_them(tmp_path, write_log, build, store):
    (store / "empty.jpg").touch()
    (store / "text.jpg").write_text("no image")
    (store / "cut.jpg").write_bytes((store / "a.jpg").read_bytes()[:600])
    (store / "unlogged.jpg").touch()
    rows = [row(f"q{i}", "a") for i in range(20)]
    rows += [row("q0", "empty"), row("q1", "empty"), row("q0", "text"), row("q0", "cut")]
    rows += [row("q0", "gone")]
    log = write_log(tmp_path / "log.csv", rows)
    run = build([log], splits=ALL_TRAIN, max_rejected_fraction=0.5)
    found = {r["content"]["image_id"]: (r["reason"], r["rows"], r["row"]) for r in run.rejected}
    assert found == {
        "empty": ("image_empty", 2, 21),
        "text": ("image_undecodable", 1, 23),
        "cut": ("image_truncated", 1, 24),
        "gone": ("image_missing", 1, 25),
        "unlogged": ("image_empty", 0, 0),
    }
    messages = {r["content"]["image_id"]: r["message"] for r in run.rejected}
    assert messages["gone"] == f"image 'gone': image id 'gone' has no image file in {store}"
    assert messages["empty"] == f"image 'empty': {store}/empty.jpg: the image has 0 bytes"
    # Their clicks are in no total.
    assert {r["image_id"] for r in run.relevance} == {"a"}
    totals = run.examples["train"]["a"]
    assert totals["query/clicks_total"] == [1] * 20
    assert set(run.gallery) == {"a", "b", "c", "d", "e", "f"}
    assert run.summary["rejected"]["image_empty"] == 2


def test_too_many_rejected_rows_fail_with_the_commonest_reasons(tmp_path, write_log, build):
    rows = [row("q", "a")] * 7 + [row("", "a")] * 2 + [row("q", "gone")]
    log = write_log(tmp_path / "log.csv", rows)
    with pytest.raises(UserError) as error:
        build([log])
    root = tmp_path / "images"
    assert str(error.value) == (
        "3 of 10 rows (30.0%) were rejected, more than max_rejected_fraction=0.01 allows. "
        f"missing_query: 2 rows, e.g. {log}, row 8 (query is missing or empty); "
        f"image_missing: 1 rows, e.g. {log}, row 10 (image 'gone': image id 'gone' has no image "
        f"file in {root}). Correct the input, or raise max_rejected_fraction if these rows may "
        "be lost."
    )


def test_a_broken_file_fails_the_run_with_its_name(tmp_path, write_log, build):
    good = write_log(tmp_path / "good.csv", [row("q", "a")])
    broken = write_log(tmp_path / "broken.parquet", [row("q", "a")] * 1000)
    data = Path(broken).read_bytes()
    Path(broken).write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=rf"^{broken}: cannot be read to its end as Parquet"):
        build([good, broken])


@pytest.mark.parametrize("content", ["", "query,image_id,clicked\n"])
def test_an_empty_log_is_refused(tmp_path, build, content):
    (tmp_path / "log.csv").write_text(content)
    with pytest.raises(UserError, match=r"^The click log is empty: its files hold no rows\.$"):
        build([tmp_path / "log.csv"])


def test_a_log_without_clicks_is_refused(tmp_path, write_log, build):
    with pytest.raises(UserError, match="1 rows, but no accepted row with a click"):
        build([write_log(tmp_path / "log.csv", [row("q", "a", 0)])])


def test_unknown_columns_are_reported_once(tmp_path, write_log, build, caplog):
    logs = [write_log(tmp_path / f"{i}.csv", [row("q", "a", country="de")]) for i in range(2)]
    with caplog.at_level("WARNING"):
        run = build(logs)
    assert run.summary["unknown_columns"] == {"country": logs[0]}
    assert caplog.text.count("Columns ignored, unknown to the contract: country") == 1


def test_an_empty_train_split_is_refused_and_others_are_reported(
    tmp_path, write_log, build, caplog
):
    given = SplitConfig(policy="given")
    log = write_log(tmp_path / "1.csv", [row("q", "a", split="val"), row("r", "b", split="val")])
    with pytest.raises(UserError) as error:
        build([log], splits=given)
    assert "empty; pairs by split: train 0, val 2, test 0. Bring more rows" in str(error.value)
    build([write_log(tmp_path / "2.csv", [row("q", "a", split="train")])], splits=given)
    assert "Nothing is in the split val and test; pairs by split: train 1" in caplog.text


def test_propensities_that_the_log_cannot_tell_are_refused(tmp_path, write_log, build):
    rows = [{"query": "q", "image_id": i, "clicks": 2, "position": 1} for i in "ab"]
    log = write_log(tmp_path / "log.csv", rows)
    with pytest.raises(UserError, match="estimated needs impressions without a click"):
        build([log], splits=ALL_TRAIN, propensity=PropensityConfig(mode="estimated"))


def test_days_written_without_hyphens_cut_the_log(tmp_path, write_log, build):
    rows = [row(f"q{day}", "a", timestamp=20240100 + day) for day in (1, 14, 15, 17, 18, 31)]
    cut = SplitConfig(
        policy="by_time",
        val_from=datetime.datetime(2024, 1, 15),
        test_from=datetime.datetime(2024, 1, 18),
    )
    for suffix in ("csv", "parquet"):
        run = build([write_log(tmp_path / f"log.{suffix}", rows)], splits=cut)
        assert {r["query"]: r["split"] for r in run.relevance} == {
            "q1": "train",
            "q14": "train",
            "q15": "val",
            "q17": "val",
            "q18": "test",
            "q31": "test",
        }


def test_every_row_of_the_log_is_counted(tmp_path, build):
    lines = [f"query {number},{'abc'[number % 3]},1" for number in range(400)]
    lines[119] = '"12 inch triangle,a,1'
    (tmp_path / "log.csv").write_text("query,image_id,clicked\n" + "\n".join(lines))
    run = build([tmp_path / "log.csv"], splits=ALL_TRAIN)
    assert run.summary["log"] == {"read": 400, "accepted": 399, "rejected": 1}
    assert len(run.relevance) == 399
    [bad] = run.rejected
    assert (bad["source"], bad["row"]) == (str(tmp_path / "log.csv"), 120)
    assert bad["message"].startswith("line 121: field 1 opens a quote and never closes it.")
    assert bad["content"] == {"line": '"12 inch triangle,a,1\n'}


def test_a_log_whose_name_is_not_utf8_is_read(tmp_path, build):
    path = tmp_path / "log-\udcff.csv"
    path.write_text("query,image_id,clicked\nq,a,1\nr,b,1\nr\n")
    run = build([path], splits=ALL_TRAIN, max_rejected_fraction=0.5)
    assert run.summary["log"] == {"read": 3, "accepted": 2, "rejected": 1}
    assert run.rejected[0]["source"] == f"{tmp_path}/log-\\xff.csv"


def test_images_in_url_safe_base64(tmp_path, write_log, build, store):
    data = (store / "a.jpg").read_bytes()
    text = base64.urlsafe_b64encode(data).decode().rstrip("=")
    assert "_" in text
    for suffix in ("jsonl", "parquet"):
        rows = [row("q", "x", image_bytes=text)]
        run = build([write_log(tmp_path / f"log.{suffix}", rows)], root=None, splits=ALL_TRAIN)
        assert Image.open(io.BytesIO(run.gallery["x"]["image/encoded"][0])).size == (21, 16)


def test_a_log_of_lists_is_refused_with_the_remedy(tmp_path, write_log, build):
    rows = [row(["q", "r"], "a")] * 3
    with pytest.raises(UserError, match=r"3 of 3 rows .*query is a list; the log needs one value"):
        build([write_log(tmp_path / "log.jsonl", rows)])


def test_too_few_days_are_refused(tmp_path, write_log, build):
    rows = [row(f"q{d}", "a", timestamp=f"2026-01-0{d}T12:00:00") for d in (1, 2)]
    with pytest.raises(UserError, match=r"covers 2 day\(s\), too few"):
        build([write_log(tmp_path / "log.csv", rows)], splits=SplitConfig(policy="by_time"))


def test_a_change_of_code_rebuilds(tmp_path, write_log, store, monkeypatch):
    write_log(tmp_path / "log/log.csv", [row("q", "a"), row("r", "b")])
    DataFolder(kind="clicks", name="mini", splits=ALL_TRAIN).save(tmp_path)
    folder = DataFolder.load(tmp_path)
    keys, times = [], []
    for code in ("one", "one", "two"):
        monkeypatch.setattr("tfx_pipeline.data.examples.fingerprint_code", lambda *_, c=code: c)
        built = materialize_examples(folder, tmp_path / "out")
        keys.append(built.key)
        times.append(built.relevance_path.stat().st_mtime_ns)
    assert keys[0] == keys[1] != keys[2]
    assert times[0] == times[1] < times[2]


def test_a_missing_image_is_told_what_is_there(tmp_path, write_log, build, store):
    (store / "a.jpg").rename(store / "A.jpg")
    rows = [row("q", "a"), row("q", "b"), row("r", "x", image_uri="sub/c.png"), row("r", "gone")]
    log = write_log(tmp_path / "log.csv", rows)
    run = build([log], splits=ALL_TRAIN, max_rejected_fraction=1)
    assert {bad["row"]: bad["message"] for bad in run.rejected} == {
        1: f"image 'a': image id 'a' has no image file in {store}; there is 'A.jpg', which differs "
        "in upper and lower case",
        3: f"image 'x': {store}/sub/c.png: cannot be opened (No such file or directory); there is "
        "'c.png', which differs in the folder",
        4: f"image 'gone': image id 'gone' has no image file in {store}",
    }


def test_folders_of_the_log_are_columns(tmp_path, write_log, build, caplog):
    log = tmp_path / "log/region=eu"
    rows = [{"query": "q", "image_id": name} for name in "ab"]
    for part in ("train", "test"):
        for suffix in ("csv", "jsonl", "parquet"):
            folder = log / f"split={part}/language=fr/clicked=1"
            write_log(folder / f"p.{suffix}", [{**r, "query": f"{part} {suffix}"} for r in rows])
    own = [{**r, "query": "own", "split": "train"} for r in rows]
    write_log(log / "split=test/clicked=1/own.csv", own)
    run = build(sorted(log.rglob("*.*")), splits=SplitConfig(policy="given"))
    assert {(r["query"], r["split"], r["language"]) for r in run.relevance} == {
        *((f"{s} {f}", s, "fr") for s in ("train", "test") for f in ("csv", "jsonl", "parquet")),
        ("own", "train", "en"),
    }
    assert "Columns ignored, unknown to the contract: region" in caplog.text


def test_file_names_that_are_not_unicode_are_rejected(tmp_path, write_log, build, store):
    (store / "a.jpg").rename(f"{store}/a\udcff.jpg")
    run = build([write_log(tmp_path / "log.csv", [row("q", "b")])], splits=ALL_TRAIN)
    [bad] = run.rejected
    assert (bad["reason"], bad["source"]) == ("invalid_utf8", f"{store}/a\\xff.jpg")
    assert set(run.gallery) == {"b", "c", "d", "e", "f"}


@pytest.mark.parametrize("name", ["[2024] shop", "100% {x} *?", "-商店"])
def test_a_data_folder_of_any_name(tmp_path, write_log, store, name):
    root = tmp_path / name
    write_log(root / "log/part-0.csv", [row(f"q{i}", "shots/a") for i in range(9)])
    (root / "log/_SUCCESS").touch()
    (root / "log/.part-0.csv.crc").write_bytes(b"crc")
    (root / "images").mkdir()
    (root / "images/shots").symlink_to(store)
    folder = DataFolder(kind="clicks", name="x")
    folder.save(root)
    loaded = DataFolder.load(root)
    before = loaded.resolve().fingerprint
    built = materialize_examples(loaded, root / "run [1]")
    assert built.counters["counters"]["images"] == 6
    assert built.counters["counters"]["pairs"] == 9
    assert built.counters["rejected"] == {}
    noise_image(9).save(store / "a.jpg")
    assert loaded.resolve().fingerprint != before
