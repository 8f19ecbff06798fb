import numpy as np
import pytest
import tensorflow as tf
import tiny
import tiny_systems

from vl_models.errors import UserError
from vl_models.input.records import START
from vl_models.input.source import Feed
from vl_models.metrics.class_retrieval import class_retrieval, cosine_similarity
from vl_models.training.config import TrainConfig
from vl_models.training.logging import read_history
from vl_models.training.trainer import Trainer
from vl_models.training.validation import Validation


@pytest.fixture
def pattern(tmp_path):
    (tmp_path / "records").mkdir()
    return tiny.write_records(tmp_path / "records", shards=2, per_shard=5)


def test_the_value_is_the_mean_of_the_losses_of_all_full_batches(pattern):
    model = tiny.LinearDualEncoder()
    model.build()
    source = tiny.source(pattern, shuffle=False)

    measured = Validation(source, 4, 1)(0, model)

    opened = source.open(Feed(4), START)
    batches = [next(opened)[0] for _ in range(2)]  # of 10 records, 2 fill no batch
    losses = [model.losses(b, model.forward(b, False)) for b in batches]
    assert measured.keys() == losses[0].keys()
    for name, value in measured.items():
        expected = float(np.mean([loss[name] for loss in losses]))
        assert value == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_recall_is_that_of_the_embeddings_in_the_batch(pattern):
    model = tiny_systems.make_model("clip")
    model.build()
    source = tiny.source(pattern, shuffle=False, image_size=tiny_systems.SIZE)

    measured = Validation(source, 5, 1)(0, model)

    opened = source.open(Feed(5), START)
    hits = {"recall@1": [], "recall@1/image_to_text": []}
    for _ in range(2):  # no two of the tiny images share a text
        batch, _ = next(opened)
        scores = np.asarray(model.encode_image(batch) @ tf.transpose(model.encode_text(batch)))
        hits["recall@1"].append(np.mean(scores.argmax(axis=0) == np.arange(5)))
        hits["recall@1/image_to_text"].append(np.mean(scores.argmax(axis=1) == np.arange(5)))
    assert {key: measured[key] for key in hits} == pytest.approx(
        {key: np.mean(values) for key, values in hits.items()}
    )


def test_map_by_class_is_over_even_parts_of_the_whole_split(pattern):
    model = tiny_systems.make_model("clip")
    model.build()
    options = {"image_size": tiny_systems.SIZE, "classes": ("0", "1", "2"), "shuffle": False}
    source = tiny.source(pattern, **options)

    measured = Validation(source, 8, 1)(0, model)  # ten records: twice five, not eight

    opened = source.open(Feed(5), START)
    batches = [next(opened)[0] for _ in range(2)]
    images, texts, labels = (
        np.concatenate([np.asarray(read(batch)) for batch in batches])
        for read in (model.encode_image, model.encode_text, lambda batch: batch["label"])
    )
    for direction, one, other in (
        ("image_to_text", images, texts),
        ("text_to_image", texts, images),
    ):
        found = class_retrieval(cosine_similarity(one, other), labels > 0, labels > 0)
        expected = found.mean_average_precision()
        assert measured[f"map@all/{direction}"] == pytest.approx(expected, abs=1e-6)


def test_a_model_is_traced_once_and_another_one_is_measured_anew(pattern):
    class Counting(tiny.LinearDualEncoder):
        calls = 0

        def forward(self, batch, training):
            self.calls += 1
            return super().forward(batch, training)

    models = [Counting(), Counting(width=4)]
    for model in models:
        model.build()
    hook = Validation(tiny.source(pattern, shuffle=False), 4, 1)

    first = [hook(step, models[0]) for step in range(3)]
    other = hook(3, models[1])

    assert [model.calls for model in models] == [1, 1]
    assert first[0] == first[2] != other


def test_it_repeats_itself_and_changes_nothing(pattern):
    model = tiny.LinearDualEncoder()
    model.build()
    hook = Validation(tiny.source(pattern, shuffle=False), 64, 2)
    before = [np.array(v) for v in model.variables]

    assert hook(1, model) == hook(2, model)

    for value, variable in zip(before, model.variables):
        np.testing.assert_array_equal(value, variable)


@pytest.mark.parametrize("replicas", [1, 2])
def test_it_is_logged_in_the_history(tmp_path, strategies, pattern, replicas):
    hook = Validation(tiny.source(pattern, shuffle=False), 4, 1)
    hooks = [{"name": "validation", "every": 2}]
    config = TrainConfig(global_batch_size=4, steps=4, learning_rate=0.05, hooks=hooks)
    Trainer(
        tiny.LinearDualEncoder,
        config,
        tmp_path / "run",
        strategies[replicas],
        [tiny.source(pattern)],
        {"validation": hook},
    ).fit()
    rows = [row for row in read_history(tmp_path / "run" / "history.jsonl") if "hook" in row]
    assert [row["step"] for row in rows] == [2, 4]
    assert rows[1]["validation/contrastive"] < rows[0]["validation/contrastive"]


def test_an_empty_split_is_refused(tmp_path):
    path = tmp_path / "data_tfrecord-00000-of-00001.gz"
    with tf.io.TFRecordWriter(str(path), "GZIP"):
        pass
    with pytest.raises(UserError, match="'validation' needs examples in the split 'val', which is"):
        Validation(tiny.source(str(path), name="val"), 4, 1)
