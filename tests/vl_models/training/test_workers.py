import json
import socket

import pytest

from vl_models.errors import UserError
from vl_models.training.workers import (
    WorkerPlace,
    await_chief,
    from_chief,
    place_in_cluster,
    worker_place,
)

CLUSTER = {"chief": ["a:1"], "worker": ["b:1", "c:1"], "ps": ["d:1"]}


@pytest.mark.parametrize(
    ("config", "place"),
    [
        (None, WorkerPlace(0, 1)),
        ({}, WorkerPlace(0, 1)),
        (
            {"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}},
            WorkerPlace(0, 1),
        ),
        ({"cluster": CLUSTER, "task": {"type": "chief", "index": 0}}, WorkerPlace(0, 3)),
        ({"cluster": CLUSTER, "task": {"type": "worker", "index": 1}}, WorkerPlace(2, 3)),
    ],
)
def test_the_chief_comes_first_then_the_workers(monkeypatch, config, place):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if config is not None:
        monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    assert place_in_cluster() == place
    assert place.is_chief == (place.index == 0)


def test_a_wrong_tf_config_is_an_error(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "{oops")
    with pytest.raises(UserError, match=r"TF_CONFIG is not JSON .* Received: '\{oops'"):
        place_in_cluster()
    config = {"cluster": CLUSTER, "task": {"type": "ps", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    with pytest.raises(
        UserError, match=r"one of chief 0, worker 0, worker 1\. Received: task=\{'t"
    ):
        place_in_cluster()


def test_alone_there_is_nobody_to_wait_for(strategies):
    for strategy in strategies.values():
        assert worker_place(strategy) == WorkerPlace(0, 1)
        assert from_chief(strategy, 7) == 7


def test_a_chief_that_does_not_answer_is_an_error(monkeypatch):
    with socket.socket() as chief:
        chief.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{chief.getsockname()[1]}"
        cluster = {"worker": [address, "127.0.0.1:1"]}
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster}))
        with pytest.raises(UserError, match=f"does not answer at {address} after 0 s .*refused"):
            await_chief(timeout=0.0)
        chief.listen()
        await_chief(timeout=0.0)
