"""Rows of images alone and of texts alone: of the log, of the store, and of files of texts."""

import shutil

import pytest

from tfx_pipeline.data.config import SplitConfig
from tfx_pipeline.data.folder import DataFolder
from vl_models import features as f
from vl_models.errors import UserError

ROWS = [
    {"query": "Red", "image_id": "a", "clicked": 1, "split": "train"},
    {"query": "blue", "image_id": "b", "clicked": 1, "split": "val"},
    {"query": "green", "image_id": "c", "clicked": 1, "split": "test"},
    {"query": "red", "image_id": "d", "clicked": 0, "split": "train"},  # d is clicked by nobody
    {"query": "GREY", "image_id": "a", "clicked": 0, "split": "train"},
    {"query": "grey", "image_id": "b", "clicked": 0, "split": "val"},
]


@pytest.fixture
def built(build, store, write_log, tmp_path):
    """Images a, b, c clicked in the three splits; d, f not; e a copy of the test image c."""
    shutil.copyfile(store / "c.png", store / "e.png")
    (store / "e.jpg").unlink()
    texts = tmp_path / "texts.txt"
    texts.write_bytes("Green\n  黄  \nBLUE\n\ngrey\r\nmauve\n".encode() + b"\xff\n")
    log = write_log(tmp_path / "log.jsonl", ROWS)
    config = {"splits": SplitConfig(policy="given"), "max_rejected_fraction": 0.5}
    return build([log], texts=(str(texts),), **config)


def test_rows_of_one_modality(built, tmp_path):
    check_images(built)
    check_texts(built)
    check_counts(built, tmp_path)


def check_images(built):
    """Those that no split has a click for."""
    assert {split: set(rows) for split, rows in built.examples.items()} == {
        "train": {"a"},
        "val": {"b"},
        "test": {"c"},
    }
    assert set(built.single["image"]) == {"d", "f"}  # not e, which shows what c shows
    row = built.single["image"]["d"]
    assert row[f.IMAGE_ENCODED] == built.gallery["d"][f.IMAGE_ENCODED]
    assert row[f.SOURCE_TYPE] == [b"image_only"]
    assert f.QUERY_TEXT not in row


def check_texts(built):
    """Those that were never clicked, each once."""
    rows = built.single["text"]
    texts = sorted(row[f.QUERY_TEXT] for row in rows.values())
    assert texts == [[b"grey"], [b"mauve"], ["黄".encode()]]
    languages = {row[f.QUERY_TEXT][0]: row[f.QUERY_LANGUAGE] for row in rows.values()}
    assert languages["黄".encode()] == [b"zh"]
    for name, row in rows.items():
        assert name == f"text:{row[f.QUERY_TEXT][0].decode()}"
        assert row[f.SOURCE_TYPE] == [b"text_only"]
        assert f.IMAGE_ENCODED not in row


def check_counts(built, tmp_path):
    """Lines of the file count as rows: they are accepted, or rejected with their number."""
    counters = built.summary["counters"]
    assert counters["examples_train_image_only"] == 2
    assert counters["examples_train_text_only"] == 3
    assert built.summary["log"] == {"read": 13, "accepted": 11, "rejected": 2}
    rejected = [(row["source"], row["row"], row["reason"]) for row in built.rejected]
    path = str(tmp_path / "texts.txt")
    assert rejected == [(path, 4, "missing_query"), (path, 7, "invalid_utf8")]


def test_a_data_folder_names_its_texts(tmp_path):
    (tmp_path / "log").mkdir()
    (tmp_path / "log/a.csv").write_text("query,image_id,clicked\nred,a,1\n")
    (tmp_path / "images").mkdir()
    DataFolder(kind="clicks", name="mine", texts="texts/*.txt").save(tmp_path)
    folder = DataFolder.load(tmp_path)
    with pytest.raises(UserError, match=r"No text file matches .*texts/\*\.txt'"):
        folder.example_config()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").write_text("grey\n")
    assert folder.example_config().texts == (str(tmp_path / "texts/a.txt"),)
    before = folder.resolve().fingerprint
    (tmp_path / "texts/b.txt").write_text("blue\n")
    assert folder.resolve().fingerprint != before


def test_a_file_that_is_gone_fails_the_run(build, store, write_log, tmp_path):
    log = write_log(tmp_path / "log.jsonl", ROWS)
    with pytest.raises(UserError, match=r"gone\.txt: cannot be opened"):
        build([log], texts=(str(tmp_path / "gone.txt"),))
