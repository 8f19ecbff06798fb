"""Queues and momentum encoders in the loop: replicas, exact resume."""

import numpy as np
import pytest
import tiny

from vl_models.models.registry import create_model, model_config_from_dict
from vl_models.training.checkpoint import load_checkpoint, read_weights
from vl_models.training.config import TrainConfig
from vl_models.training.logging import read_history
from vl_models.training.trainer import Trainer

WENLAN = {
    "system": "wenlan",
    "embedding_dim": 4,
    "image": {"kind": "cnn", "widths": [8], "blocks": [0], "stem_stride": 4},
    "text": {"kind": "transformer", "width": 8, "depth": 1, "heads": 1},
    "image_size": tiny.SIZE,
    "max_length": tiny.LENGTH,
    "vocabulary_size": tiny.VOCABULARY,
    "momentum": 0.8,
    "temperature": 0.5,  # at 0.07, five steps amplify rounding beyond 1e-5
    "queue_size": 11,  # no multiple of the batch: it wraps around
    "batch_negatives": True,
}
TRAIN = {
    "seed": 3,
    "global_batch_size": 4,
    "texts_per_image": 2,
    "shuffle_buffer": 5,
    "steps": 5,
    "optimizers": [{"kind": "sgd", "learning_rate": 0.2}],
    "log_every": 1,
    "checkpoint_every": 3,
}


pytestmark = pytest.mark.slow


class Killed(Exception):
    pass


def kill(step, model):
    raise Killed


@pytest.fixture(scope="module")
def runs(tmp_path_factory, strategies):
    """Folders of the same run: on one replica, on two, and killed after step 4 and resumed."""
    folder = tmp_path_factory.mktemp("runs")
    pattern = tiny.write_records(folder / "records")
    model = model_config_from_dict(WENLAN)

    def trainer(name, replicas, **changes):
        return Trainer(
            lambda: create_model(model),
            TrainConfig.model_validate(TRAIN | changes),
            folder / name,
            strategies[replicas],
            [tiny.source(pattern)],
            {"kill": kill},
        )

    trainer("one", 1).fit()
    trainer("two", 2).fit()
    with pytest.raises(Killed):
        trainer("resumed", 1, hooks=[{"name": "kill", "every": 4}]).fit()
    trainer("resumed", 1).fit()
    return folder


def values(row):
    return {
        key: value
        for key, value in row.items()
        if key.startswith(("loss/", "image_queue/", "text_queue/"))
    }


def test_two_replicas_train_as_one_does(runs):
    one, two = (read_history(runs / name / "history.jsonl") for name in ("one", "two"))
    for left, right in zip(one, two, strict=True):
        assert values(left) == pytest.approx(values(right), rel=1e-6, abs=1e-5)
    assert len(one) == 5
    assert one[0]["loss/image_to_text"] != one[-1]["loss/image_to_text"]
    assert [row["text_queue/filled_share"] for row in one] == pytest.approx([8 / 11, 1, 1, 1, 1])
    left, right = read_weights(runs / "one"), read_weights(runs / "two")
    assert left.keys() == right.keys()
    for path, value in left.items():
        if value.dtype == np.int64:
            np.testing.assert_array_equal(right[path], value, err_msg=path)
        else:
            np.testing.assert_allclose(right[path], value, atol=1e-5, err_msg=path)
    assert left["text_queue/pointer"] == 40 % 11
    assert left["image_queue/pointer"] == 20 % 11
    momentum, query = (left[p + "image_projection/output/kernel"] for p in ("momentum_", ""))
    assert np.abs(momentum - query).max() > 1e-3


def test_resume_continues_queues_pointers_and_twins_bit_by_bit(runs):
    whole, resumed = (
        load_checkpoint(runs / name / "checkpoints" / "step-0000000005")
        for name in ("one", "resumed")
    )
    assert {"text_queue/features", "image_queue/pointer", "text_queue/enqueued_at"} <= (
        whole.weights.keys()
    )
    for path, value in whole.weights.items():
        np.testing.assert_array_equal(resumed.weights[path], value, err_msg=path)
    histories = [read_history(runs / name / "history.jsonl") for name in ("one", "resumed")]
    assert [values(row) for row in histories[0]] == [values(row) for row in histories[1]]
