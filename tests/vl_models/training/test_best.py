import keras
import numpy as np
import pytest

from vl_models.errors import UserError
from vl_models.training.best import FILE_NAME, BestWeights
from vl_models.training.config import KeepBestConfig


def variable():
    return keras.Variable(np.zeros(2, np.float32), name="v")


def keeper(folder, value, writes=True, **config):
    settings = KeepBestConfig(metric="map", **config)
    return BestWeights(folder, settings, 10, {"v": value}, writes)


def test_the_weights_of_the_best_step_are_restored(tmp_path):
    value = variable()
    best = keeper(tmp_path, value)
    for step, measured in ((10, 0.2), (20, 0.6), (30, 0.6), (40, 0.1)):
        value.assign([step, -step])
        best.offer(step, {"map": measured})
    best.restore()
    assert value.numpy().tolist() == [20, -20]  # the first of equals
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_a_resumed_run_goes_on_with_the_best_so_far(tmp_path):
    value = variable()
    value.assign([1, 1])
    keeper(tmp_path, value).offer(10, {"map": 0.5})
    again = keeper(tmp_path, value)
    value.assign([2, 2])
    again.offer(20, {"map": 0.4})
    again.restore()
    assert value.numpy().tolist() == [1, 1]


def test_smaller_is_better_if_that_is_said(tmp_path):
    value = variable()
    best = keeper(tmp_path, value, mode="min")
    for step, measured in ((10, 0.5), (20, 0.3), (30, 0.9)):
        value.assign([step, step])
        best.offer(step, {"map": measured})
    best.restore()
    assert value.numpy().tolist() == [20, 20]


def test_patience_counts_measurements(tmp_path):
    best = keeper(tmp_path, variable(), patience=2)
    best.offer(10, {"map": 0.5})
    best.offer(20, {"map": 0.4})
    assert not best.exhausted(20) and best.exhausted(30)
    assert not keeper(tmp_path, variable()).exhausted(10**6)


def test_only_the_chief_writes(tmp_path):
    keeper(tmp_path, variable(), writes=False).offer(10, {"map": 0.5})
    assert not list(tmp_path.iterdir())


def test_nan_is_never_best_and_a_metric_that_is_not_measured_is_named(tmp_path):
    best = keeper(tmp_path, variable())
    best.offer(10, {"map": float("nan")})
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match=r"'validation' measures no 'map'\. It measures: loss, r"):
        best.offer(20, {"loss": 1.0, "recall@1": 0.5})
