"""Determinism holds for a training, not for the process that it ran in."""

import pytest
import tensorflow as tf
import tiny

from vl_models.training.config import TrainConfig
from vl_models.training.determinism import op_determinism
from vl_models.training.trainer import Trainer

REFUSED = "Timestamp cannot be called when determinism is enabled"


def test_the_process_is_left_as_it_was():
    with op_determinism(True):
        with op_determinism(True):
            pass
        with pytest.raises(tf.errors.FailedPreconditionError, match=REFUSED):
            tf.timestamp()
    assert tf.timestamp() > 0
    with pytest.raises(KeyError), op_determinism(True):
        raise KeyError("inside")
    assert tf.timestamp() > 0
    with op_determinism(False):
        assert tf.timestamp() > 0


def test_a_training_is_deterministic_and_what_follows_is_not(tmp_path, strategies):
    seen = []

    def hook(*_):
        with pytest.raises(tf.errors.FailedPreconditionError, match=REFUSED):
            tf.timestamp()
        seen.append(True)
        return {}

    pattern = tiny.write_records(tmp_path / "records", shards=1, per_shard=8)
    config = TrainConfig(
        global_batch_size=4,
        steps=2,
        warmup_steps=0,
        deterministic=True,
        hooks=[{"name": "look", "every": 1}],
    )
    Trainer(
        tiny.LinearDualEncoder,
        config,
        tmp_path / "run",
        strategies[1],
        [tiny.source(pattern)],
        {"look": hook},
    ).fit()
    assert seen
    assert tf.timestamp() > 0
