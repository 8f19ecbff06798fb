import json

import pyarrow.parquet as pq
import pytest

from tfx_pipeline.data.caption_files.forms import read_captions
from tfx_pipeline.data.captions import write_captions
from tfx_pipeline.data.folder import DataFolder
from vl_models.errors import UserError

JSONL = [
    {"image": "a.jpg", "split": "train", "en": ["A dog .", "Two dogs ."], "zh": ["狗。"]},
    {"image": "b.jpg", "split": "test", "en": ["A cat ."], "zh": []},
    {"image": "c.png", "split": None, "en": ["A bird ."]},
]
COCO = {
    "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "b.jpg"}],
    "annotations": [
        {"id": 1, "image_id": 8, "caption": "A cat ."},
        {"id": 2, "image_id": 7, "caption": "A dog ."},
    ],
}


def caption_file(tmp_path, content):
    path = tmp_path / "captions.txt"
    if isinstance(content, list):
        content = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in content)
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


@pytest.mark.parametrize("place", ["reference", "link", "copy"])
def test_a_folder_is_written_and_images_stay_as_they_are(tmp_path, store, place):
    before = {path.name: path.read_bytes() for path in store.iterdir()}
    out = tmp_path / "out"
    summary = write_captions(caption_file(tmp_path, JSONL), store, out, place=place)
    assert (summary.images, summary.captions, summary.unassigned) == (3, 5, 1)
    folder = DataFolder.load(out)
    assert (folder.kind, folder.name, folder.splits.policy) == ("captions", "out", "given")
    table = pq.read_table(out / "log/captions.parquet")
    assert table["image_id"].to_pylist() == ["a", "a", "a", "b", "c"]
    assert set(table["clicked"].to_pylist()) == {1}
    assert {path.name: path.read_bytes() for path in store.iterdir()} == before
    if place == "reference":
        assert folder.image_root == str(store)
        assert not (out / "images").exists()
    else:
        assert (out / "images/a.jpg").is_symlink() == (place == "link")
        assert (out / "images/a.jpg").read_bytes() == before["a.jpg"]


def test_captions_without_splits_are_split_by_image(tmp_path, store):
    write_captions(caption_file(tmp_path, COCO), store, tmp_path / "out", name="mini")
    folder = DataFolder.load(tmp_path / "out")
    assert (folder.name, folder.splits.policy) == ("mini", "by_image")


def test_captions_build_examples_of_their_own_source_type(tmp_path, store, build):
    out = tmp_path / "captions"
    write_captions(caption_file(tmp_path, JSONL), store, out)
    folder = DataFolder.load(out)
    run = build(folder.resolve().files, kind=folder.kind, splits=folder.splits)
    assert run.examples["train"]["a"]["source/type"] == [b"caption"]
    texts = [text.decode() for text in run.examples["train"]["a"]["query/text"]]
    assert texts == ["a dog .", "two dogs .", "狗。"]
    assert set(run.examples["test"]) == {"b"}


def rejected(out):
    return [json.loads(line) for line in (out / "rejected/rejected-00000-of-00001.jsonl").open()]


def test_missing_images_are_counted_listed_and_explained(tmp_path, store):
    rows = [{"image": "a.jpg", "en": ["A dog"]}] * 7
    rows += [{"image": name, "en": ["x y", "z"]} for name in ("A.jpg", "z.jpg")]
    path, out = caption_file(tmp_path, rows), tmp_path / "out"
    with pytest.raises(UserError) as error:
        write_captions(path, store, out)
    message = f"image 'A.jpg' is not in {store}; there is 'a.jpg', which differs in upper and lower"
    assert str(error.value) == (
        f"{path}: 4 of 11 captions (36.4%) were rejected, more than --max-rejected-fraction 0.01 "
        f"allows. image_missing: 4, e.g. row 8 ({message} case). All are listed in {out}/rejected. "
        "Correct the file, or raise the bound if they may be lost."
    )
    assert not (out / "data.yaml").exists()
    summary = write_captions(path, store, out, max_rejected_fraction=0.5)
    assert (summary.read, summary.captions, summary.rejected, summary.images) == (11, 7, 4, 1)
    assert [(r["row"], r["reason"], r["rows"]) for r in rejected(out)] == [
        (8, "image_missing", 2),
        (9, "image_missing", 2),
    ]
    assert rejected(out)[1]["message"] == f"image 'z.jpg' is not in {store}"
    counts = json.loads((out / "rejected/summary.json").read_text())
    assert counts == {
        "rows": 11,
        "log": {"read": 11, "accepted": 7, "rejected": 4},
        "rejected": {"image_missing": 4},
    }
    with pytest.raises(UserError, match=r"no such image folder\. Give it with --images"):
        write_captions(path, tmp_path / "gone", tmp_path / "out")


def test_rejections_of_an_earlier_file_go(tmp_path, store):
    rows = [{"image": "a.jpg", "caption": text} for text in ("x", None)]
    out = tmp_path / "out"
    write_captions(caption_file(tmp_path, rows), store, out, max_rejected_fraction=0.5)
    assert [r["reason"] for r in rejected(out)] == ["missing_query"]
    assert rejected(out)[0]["content"] == {"image": "a.jpg"}
    write_captions(caption_file(tmp_path, rows[:1]), store, out)
    assert rejected(out) == []


def test_nothing_is_written_where_all_is_rejected(tmp_path, store):
    path = caption_file(tmp_path, [{"image": "z.jpg", "caption": "x"}])
    with pytest.raises(UserError, match=r"1 of 1 captions \(100\.0%\) were rejected"):
        write_captions(path, store, tmp_path / "out", max_rejected_fraction=1)


def test_a_name_without_suffix_is_that_of_the_one_image_that_has_it(tmp_path, store):
    rows = [{"image/key": "a", "en": {"caption": ["A dog"]}}, {"image": "./b.jpg", "en": ["x"]}]
    write_captions(caption_file(tmp_path, rows), store, tmp_path / "out")
    table = pq.read_table(tmp_path / "out/log/captions.parquet")
    assert table["image_uri"].to_pylist() == ["a.jpg", "b.jpg"]
    (store / "a.png").write_bytes((store / "c.png").read_bytes())
    with pytest.raises(UserError, match=r"image 'a' is not in .*; there is 'a\.jpg'"):
        write_captions(caption_file(tmp_path, rows), store, tmp_path / "out")


@pytest.mark.photos
def test_the_photograph_set_is_read_whole(photos):
    found = read_captions(photos / "captions.jsonl")
    captions = found.captions
    assert (found.form, found.rejected) == ("JSON lines", [])
    assert len({caption.image for caption in captions}) == 1000
    assert sum(caption.language == "en" for caption in captions) == 5000
    assert {caption.split for caption in captions} == {"train", "val", "test", None}


@pytest.mark.parametrize("place", ["link", "copy"])
def test_images_are_never_placed_onto_themselves(tmp_path, store, place):
    before = {path.name: path.read_bytes() for path in store.iterdir()}
    # The store is OUT/images, also when it is reached through a link.
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/images").symlink_to(store)
    for out in (tmp_path, tmp_path / "linked"):
        with pytest.raises(UserError, match=r"image 'a\.jpg': .* is both source and target"):
            write_captions(caption_file(tmp_path, JSONL), store, out, place=place)
    assert {path.name: path.read_bytes() for path in store.iterdir()} == before


def test_placing_twice_leaves_the_same_files(tmp_path, store):
    path, out = caption_file(tmp_path, JSONL), tmp_path / "out"
    for place in ("link", "copy", "link", "link"):
        write_captions(path, store, out, place=place)
        names = sorted(file.name for file in (out / "images").iterdir())
        assert names == ["a.jpg", "b.jpg", "c.png"]
        assert (out / "images/a.jpg").is_symlink() == (place == "link")
        assert not (store / "a.jpg").is_symlink()


def test_names_that_leave_the_image_folder_are_refused(tmp_path, store):
    path = caption_file(tmp_path, [{"image": "../images/a.jpg", "en": ["A dog"]}] * 2)
    with pytest.raises(UserError, match=r"image '\.\./images/a\.jpg' would be placed outside"):
        write_captions(path, store, tmp_path / "out", place="copy")
    assert not (tmp_path / "out").exists()


def test_images_that_differ_by_suffix_only_keep_it_in_their_ids(tmp_path, store):
    (store / "a.png").write_bytes((store / "c.png").read_bytes())
    rows = [{"image": name, "en": ["A dog"]} for name in ("a.jpg", "a.png")]
    write_captions(caption_file(tmp_path, rows), store, tmp_path / "out")
    assert DataFolder.load(tmp_path / "out").image_ids == "name"
    table = pq.read_table(tmp_path / "out/log/captions.parquet")
    assert table["image_id"].to_pylist() == ["a.jpg", "a.png"]


def test_another_data_set_is_not_overwritten(tmp_path, store):
    path = caption_file(tmp_path, [{"image": "a.jpg", "en": ["A dog"]}] * 2)
    write_captions(path, store, tmp_path / "out")
    write_captions(path, store, tmp_path / "out")  # its own it may write again
    own = tmp_path / "own"
    own.mkdir()
    DataFolder(kind="clicks", name="precious").save(own)
    with pytest.raises(UserError, match=r"own: holds another data set\. Choose an empty folder\."):
        write_captions(path, store, own)
    assert DataFolder.load(own).name == "precious"
