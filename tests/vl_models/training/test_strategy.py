import pytest

from vl_models.errors import UserError
from vl_models.training.strategy import make_strategy


def test_one_and_several_logical_cpus():
    assert make_strategy("cpu").num_replicas_in_sync == 1
    assert make_strategy("cpu:2").num_replicas_in_sync == 2


@pytest.mark.parametrize("devices", ["tpu", "cpu:0", "auto:2", "gpu:x", ""])
def test_malformed_devices(devices):
    with pytest.raises(UserError, match="Received: devices="):
        make_strategy(devices)


def test_more_devices_than_there_are():
    with pytest.raises(UserError, match="cannot be split into 3 devices any more"):
        make_strategy("cpu:3")
    with pytest.raises(UserError, match=r"8 GPU\(s\) asked for, 0 found"):
        make_strategy("gpu:8")


def test_workers_take_all_their_devices(monkeypatch):
    config = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}'
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(UserError, match=r"give devices 'auto', 'cpu' or 'gpu'\. Received: .*cpu:2"):
        make_strategy("cpu:2")
    with pytest.raises(UserError, match="this worker has no GPU"):
        make_strategy("gpu")
