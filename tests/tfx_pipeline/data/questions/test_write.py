import json

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tfx_pipeline.data.folder import DataFolder
from tfx_pipeline.data.questions.write import write_questions
from vl_models.errors import UserError


def write_lines(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return path


@pytest.fixture
def files(tmp_path):
    """SNLI-VE of two splits; a row without agreement and one without its image."""
    train = [
        {"image": "a", "sentence2": "Red", "gold_label": "entailment", "pairID": "1"},
        {"image": "b.jpg", "sentence2": "x", "gold_label": "-", "pairID": "2"},
        {"image": "b.jpg", "sentence2": "Blue", "gold_label": "neutral", "pairID": "3"},
    ]
    test = [
        {"image": "c", "sentence2": "Red", "gold_label": "contradiction", "pairID": "4"},
        {"image": "z", "sentence2": "Red", "gold_label": "neutral", "pairID": "5"},
    ]
    return [
        write_lines(tmp_path / "train.jsonl", train),
        write_lines(tmp_path / "test.jsonl", test),
    ]


def test_a_data_folder_of_questions(files, store, tmp_path):
    out = tmp_path / "out"
    summary = write_questions("snli_ve", files, store, out, max_rejected_fraction=0.2)
    assert (summary.questions, summary.rejected, summary.read) == (3, 2, 5)
    assert summary.splits == {"train": 2, "val": 0, "test": 1}
    assert (summary.images, summary.answers, summary.unanswered) == (3, 2, 0)
    rows = pq.read_table(out / "log/questions.parquet").to_pylist()
    assert [(r["key"], r["image"], r["image_2"], r["answers"], r["split"]) for r in rows] == [
        ("1", "a.jpg", None, ["entailment"], "train"),
        ("3", "b.jpg", None, ["neutral"], "train"),
        ("4", "c.png", None, ["contradiction"], "test"),
    ]
    folder = DataFolder.load(out)
    assert (folder.kind, folder.image_root) == ("answers", str(store))
    rejected = (out / "rejected/rejected-00000-of-00001.jsonl").read_text("utf-8").splitlines()
    found = {(row["row"], row["reason"]) for row in map(json.loads, rejected)}
    assert found == {(2, "no_agreement"), (2, "image_missing")}
    with pytest.raises(UserError, match="kind is answers, questions about images"):
        folder.example_config()


def test_too_many_faults(files, store, tmp_path):
    with pytest.raises(UserError) as caught:
        write_questions("snli_ve", files, store, tmp_path / "out")
    message = str(caught.value)
    assert "train.jsonl, " in message and "2 of 5 questions (40.0%) were rejected" in message
    assert "image_missing: 1, e.g. row 2 (image 'z' is not in" in message
    assert not (tmp_path / "out/data.yaml").exists()


def test_questions_of_train_are_needed(files, store, tmp_path):
    with pytest.raises(UserError, match="no question is of the split train"):
        write_questions("snli_ve", files[1:], store, tmp_path / "o", max_rejected_fraction=0.5)
    DataFolder(kind="clicks", name="mine").save(tmp_path)
    with pytest.raises(UserError, match="holds another data set"):
        write_questions("snli_ve", files, store, tmp_path)


def test_command_line(store, tmp_path):
    from tfx_pipeline.cli.data import app

    pair = {"sentence": "Red.", "identifier": "train-1-0-0", "label": "True"}
    file = write_lines(tmp_path / "train.json", [pair])
    for side, name in enumerate(("a.jpg", "b.jpg")):
        (store / name).rename(store / f"train-1-0-img{side}.jpg")
    out = tmp_path / "out"
    arguments = ["nlvr2", str(file), "--images", str(store), "--out", str(out)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout == (
        f"{out}: 1 questions (1 train, 0 val, 0 test) about 2 images, 1 answers. Read 1 = 1 "
        "accepted + 0 rejected.\n"
    )
    refused = CliRunner().invoke(app, [*arguments, "--min-occurrences", "2"])
    assert str(refused.exception) == "--min-occurrences says nothing to nlvr2. Leave it out."
    [row] = pq.read_table(out / "log/questions.parquet").to_pylist()
    assert (row["image"], row["image_2"]) == ("train-1-0-img0.jpg", "train-1-0-img1.jpg")


def test_answers_of_vqa_that_are_all_rare(store, tmp_path):
    questions = [{"question_id": 1, "question": "What?", "image_id": 7}]
    annotations = [{"question_id": 1, "answers": [{"answer": "red"}] * 10}]
    (store / "a.jpg").rename(store / "000000000007.jpg")
    for name, content in (("questions", questions), ("annotations", annotations)):
        (tmp_path / f"train_{name}.json").write_text(json.dumps({name: content}))
    files = sorted(tmp_path.glob("train_*.json"))
    with pytest.raises(UserError, match=r"no answer occurs 9 times\. Give a smaller --min-occ"):
        write_questions("vqa", files, store, tmp_path / "out")
    summary = write_questions("vqa", files, store, tmp_path / "out", min_occurrences=1)
    assert summary.answers == 1
