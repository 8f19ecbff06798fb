import json

import pyarrow.parquet as pq
import pytest

from tfx_pipeline.data.captions import read_captions, write_captions
from tfx_pipeline.data.folder import DataFolder
from vl_models.errors import UserError

JSONL = [
    {"image": "a.jpg", "split": "train", "en": ["A dog .", "Two dogs ."], "zh": ["狗。"]},
    {"image": "b.jpg", "split": "test", "en": ["A cat ."], "zh": []},
    {"image": "c.png", "split": None, "en": ["A bird ."]},
]
KARPATHY = {
    "images": [
        {"filename": "a.jpg", "split": "restval", "sentences": [{"raw": "A dog ."}]},
        {"filename": "b.jpg", "split": "test", "sentences": [{"raw": "A cat ."}, {"raw": "猫"}]},
    ]
}
COCO = {
    "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "b.jpg"}],
    "annotations": [
        {"id": 1, "image_id": 8, "caption": "A cat ."},
        {"id": 2, "image_id": 7, "caption": "A dog ."},
    ],
}
TOKENS = "a.jpg#0\tA dog .\na.jpg#1\t两只狗\nb.jpg#0\tA cat # 9 .\n"


def caption_file(tmp_path, content):
    path = tmp_path / "captions.txt"
    if isinstance(content, list):
        content = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in content)
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


@pytest.mark.parametrize(
    ("content", "form", "rows"),
    [
        (
            JSONL,
            "JSON lines",
            [
                ("a.jpg", "A dog .", "en", "train"),
                ("a.jpg", "Two dogs .", "en", "train"),
                ("a.jpg", "狗。", "zh", "train"),
                ("b.jpg", "A cat .", "en", "test"),
                ("c.png", "A bird .", "en", None),
            ],
        ),
        (JSONL[1:2], "JSON lines", [("b.jpg", "A cat .", "en", "test")]),
        (
            TOKENS,
            "Flickr tokens",
            [
                ("a.jpg", "A dog .", "en", None),
                ("a.jpg", "两只狗", "zh", None),
                ("b.jpg", "A cat # 9 .", "en", None),
            ],
        ),
        (
            KARPATHY,
            "Karpathy",
            [
                ("a.jpg", "A dog .", "en", "train"),
                ("b.jpg", "A cat .", "en", "test"),
                ("b.jpg", "猫", "zh", "test"),
            ],
        ),
        (
            COCO,
            "COCO captions",
            [("b.jpg", "A cat .", "en", None), ("a.jpg", "A dog .", "en", None)],
        ),
    ],
)
def test_each_form_is_told_apart_and_read(tmp_path, content, form, rows):
    found, captions = read_captions(caption_file(tmp_path, content))
    assert found == form
    assert [(c.image, c.text, c.language, c.split) for c in captions] == rows


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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"img": "a.jpg"}, {"image": "b.jpg"}], "row 1: key 'image' is missing or of the wrong"),
        ([{"image": "a.jpg", "split": "trian"}] * 2, "row 1: unknown split 'trian'. Known: train"),
        ("a.jpg#0\tA dog\nb.jpg\tA cat\n", "row 2: expected `image#number<TAB>caption`"),
        ({"images": [{"filename": "a"}]}, "images[0]: key 'sentences' is missing"),
        (
            {"images": [], "annotations": [{"image_id": 1, "caption": "x"}]},
            "annotations[0]: image_id 1 is not among the images.",
        ),
        ({"a": 1}, "JSON without the keys of a known form"),
        ("some text\n", "row 1: neither JSON nor a token file"),
        ({"images": [], "annotations": []}, "holds no captions (COCO captions)"),
    ],
)
def test_mistakes_name_file_and_place(tmp_path, content, message):
    path = caption_file(tmp_path, content)
    with pytest.raises(UserError) as error:
        read_captions(path)
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)


def test_missing_images_are_named(tmp_path, store):
    path = caption_file(tmp_path, [{"image": "z.jpg", "en": ["A dog"]}] * 2)
    with pytest.raises(UserError, match=rf"image 'z.jpg' is not in {store}"):
        write_captions(path, store, tmp_path / "out")
    with pytest.raises(UserError, match=r"no such image folder\. Give it with --images"):
        write_captions(path, tmp_path / "gone", tmp_path / "out")


@pytest.mark.photos
def test_the_photograph_set_is_read_whole(photos):
    form, captions = read_captions(photos / "captions.jsonl")
    assert form == "JSON lines"
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


def test_line_separators_inside_a_text_cut_no_row(tmp_path):
    text = "A dog\u2028and\u0085a cat"
    found = read_captions(caption_file(tmp_path, [{"image": "a.jpg", "en": [text]}] * 2))
    assert [caption.text for caption in found[1]] == [text] * 2


def test_keys_are_languages_texts_or_ignored_once(tmp_path, caplog):
    record = {"image": "a.jpg", "captions": ["A dog", "狗"], "zh-Hans": ["猫"], "tokens": ["A"]}
    rows = [record, record, {"image": "b.jpg", "caption": "A cat"}]
    _, captions = read_captions(caption_file(tmp_path, rows))
    first = [("A dog", "en"), ("狗", "zh"), ("猫", "zh-Hans")]
    assert [(c.text, c.language) for c in captions] == [*first, *first, ("A cat", "en")]
    assert caplog.text.count("tokens (row 1)") == 1


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
