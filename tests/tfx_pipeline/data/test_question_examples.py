"""Examples of questions, and the batches that a trainer makes of them."""

import json

import numpy as np
import pytest

from tfx_pipeline.data.folder import DataFolder
from tfx_pipeline.data.options import DataConfig
from tfx_pipeline.data.question_examples import materialize_question_examples
from tfx_pipeline.data.questions.write import write_questions
from tfx_pipeline.data.writers import read_records
from tfx_pipeline.training.sources import split_pattern
from vl_models import features as f
from vl_models.input.config import DataFacts, InputConfig, InputFacts, SourceConfig, SourceSpec
from vl_models.input.feature_facts import answer_names
from vl_models.input.records import START, find_shards
from vl_models.input.source import Feed, RecordSource


@pytest.fixture
def folder(store, tmp_path):
    """NLVR2 of three pairs in train and one in val; a pair of train is no image."""
    images = tmp_path / "pairs"
    images.mkdir()
    names = ["train-1", "train-2", "train-3", "dev-1"]
    for name, left, right in zip(names, "abcd", "bcda"):
        for side, letter in enumerate((left, right)):
            [source] = store.glob(f"{letter}.*")
            (images / f"{name}-0-img{side}{source.suffix}").write_bytes(source.read_bytes())
    next(images.glob("train-3-0-img1.*")).write_bytes(b"no image")
    for split in ("train", "dev"):
        lines = [
            {"sentence": f"Sentence {name}", "identifier": f"{name}-0-0", "label": str(i % 2 == 0)}
            for i, name in enumerate(names)
            if name.startswith(split)
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / f"{split}.json").write_text(text)
    files = [tmp_path / "train.json", tmp_path / "dev.json"]
    write_questions("nlvr2", files, images, tmp_path / "data")
    return DataFolder.load(tmp_path / "data")


def built(folder, out, **options):
    config = DataConfig(folder=folder.root, shorter_side=16, shards=2, **options)
    return materialize_question_examples(folder, out, config)


def features(out, split):
    found = {}
    for shard in find_shards([split_pattern(out / "examples", split)]):
        for example in read_records(shard):
            row = {}
            for name, feature in example.features.feature.items():
                row[name] = list(getattr(feature, feature.WhichOneof("kind")).value)
            found[row[f.QUESTION_ID][0].decode()] = row
    return found


def test_questions_become_examples_and_batches(folder, tmp_path):
    out = tmp_path / "out"
    key = built(folder, out, max_rejected_fraction=0.3)
    train = features(out, "train")
    assert set(train) == {"train-1-0-0", "train-2-0-0"}
    assert set(features(out, "val")) == {"dev-1-0-0"} and features(out, "test") == {}
    row = train["train-1-0-0"]
    assert row[f.QUERY_TEXT] == [b"sentence train-1"]  # normalised
    assert (row[f.ANSWER_TEXT], row[f.ANSWER_SCORE]) == ([b"true"], [1.0])
    assert row[f.SOURCE_TYPE] == [b"question"] and row[f.SOURCE_NAME] == [b"data"]
    assert row[f.IMAGE_ENCODED] != row[f.IMAGE_2_ENCODED]
    # Both pairs show b.jpg, on either side.
    assert train["train-2-0-0"][f.IMAGE_ENCODED] == row[f.IMAGE_2_ENCODED]
    summary = json.loads((out / "rejected/summary.json").read_text())
    assert summary["log"] == {"read": 4, "accepted": 3, "rejected": 1}
    assert summary["rejected"] == {"image_undecodable": 1}
    stamp = (out / "built.json").stat().st_mtime_ns
    assert built(folder, out, max_rejected_fraction=0.3) == key
    assert (out / "built.json").stat().st_mtime_ns == stamp  # nothing is made again
    check_batch(out)


def check_batch(out):
    """A model of two images gets both, cut alike, and a column for each known answer."""
    pattern = split_pattern(out / "examples", "train")
    answers = answer_names(find_shards([pattern]))
    assert answers == ("false", "true")
    facts = InputFacts(
        ("image", "image_2", "answer"), {"image": 16}, data=DataFacts(answers=answers)
    )
    spec = SourceSpec(SourceConfig(), InputConfig(shuffle=False), facts)
    batch, _ = next(RecordSource(spec, [pattern]).open(Feed(2), START))
    assert batch["image"].shape == batch["image_2"].shape == (2, 16, 16, 3)
    np.testing.assert_array_equal(np.sort(batch["answer"].numpy(), axis=0), [[0, 0], [1, 1]])
    assert batch["answer"].numpy().sum(axis=1).tolist() == [1, 1]
    assert set(batch["source_type"].numpy()) == {f.SOURCE_TYPES.index("question")}
