"""The manager with servables that note what happens to them; TensorFlow plays no part here."""

import threading
import time
from pathlib import Path

import pytest

from serving.errors import Code, StatusError
from serving.model_server.manager import Manager, State


class World:
    """Loads servables that log their life; versions in `broken` fail, `gate` holds loads back."""

    def __init__(self):
        self.events: list[str] = []
        self.broken: set[int] = set()
        self.gate = threading.Event()
        self.gate.set()

    def load(self, name: str, version: int, path: Path) -> "Servable":
        assert self.gate.wait(10)
        self.events.append(f"load {version}")
        if version in self.broken:
            raise StatusError(Code.DATA_LOSS, f"version {version} is broken")
        return Servable(self, version)


class Servable:
    def __init__(self, world: World, version: int):
        self.world, self.version, self.closed = world, version, False

    def close(self) -> None:
        self.closed = True
        self.world.events.append(f"unload {self.version}")


@pytest.fixture
def world():
    return World()


@pytest.fixture
def manager(world):
    manager = Manager(world.load, max_load_retries=0)
    yield manager
    world.gate.set()
    manager.stop()


def _aspire(manager, *versions):
    manager.set_aspired("m", {version: Path(str(version)) for version in versions})


def _states(manager):
    return {version: state for version, state, _ in manager.statuses("m")}


def _wait(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "waited 10 s"
        time.sleep(0.002)


def test_new_is_loaded_before_old_is_unloaded(manager, world):
    _aspire(manager, 1)
    assert manager.wait_until_ready(["m"], 10)
    _aspire(manager, 2)
    _wait(lambda: _states(manager) == {2: State.AVAILABLE, 1: State.END})
    assert world.events == ["load 1", "load 2", "unload 1"]


def test_highest_first(manager, world):
    world.gate.clear()
    _aspire(manager, 1, 3, 2)
    world.gate.set()
    assert manager.wait_until_ready(["m"], 10)
    assert world.events == ["load 3", "load 2", "load 1"]
    with manager.use("m") as entry:
        assert entry.version == 3


def test_nothing_wanted_unloads_all_lowest_first(manager, world):
    _aspire(manager, 1, 2)
    manager.wait_until_ready(["m"], 10)
    _aspire(manager)
    _wait(lambda: set(_states(manager).values()) == {State.END})
    assert world.events[2:] == ["unload 1", "unload 2"]


def test_failed_version_keeps_the_old_one_and_its_error(manager, world):
    _aspire(manager, 1)
    manager.wait_until_ready(["m"], 10)
    world.broken.add(2)
    _aspire(manager, 2)
    _wait(lambda: _states(manager).get(2) == State.END)
    assert _states(manager)[1] == State.AVAILABLE
    ((_, _, error), (_, _, none)) = manager.statuses("m")
    assert error.text == "DATA_LOSS: version 2 is broken"
    assert none is None

    # Not tried again while it stays, but when it comes back.
    world.broken.clear()
    _aspire(manager, 2)
    time.sleep(0.05)
    assert world.events.count("load 2") == 1
    _aspire(manager, 1)
    _aspire(manager, 1, 2)
    _wait(lambda: _states(manager) == {1: State.AVAILABLE, 2: State.AVAILABLE})


def test_unload_waits_for_requests_under_way(manager, world):
    _aspire(manager, 1)
    manager.wait_until_ready(["m"], 10)
    with manager.use("m", 1) as entry:
        servable = entry.model
        _aspire(manager, 2)
        _wait(lambda: _states(manager) == {2: State.AVAILABLE, 1: State.UNLOADING})
        # The loader is not blocked by the wait, and new requests get the new version.
        _aspire(manager, 2, 3)
        _wait(lambda: _states(manager)[3] == State.AVAILABLE)
        with manager.use("m") as newest:
            assert newest.version == 3
        with pytest.raises(StatusError, match=r"Specific\(m, 1\)"), manager.use("m", 1):
            pass
        assert not servable.closed
    _wait(lambda: _states(manager)[1] == State.END)
    assert servable.closed


def test_wanted_again_while_unloading(manager, world):
    _aspire(manager, 1)
    manager.wait_until_ready(["m"], 10)
    with manager.use("m", 1):
        _aspire(manager)
        _wait(lambda: _states(manager) == {1: State.UNLOADING})
        _aspire(manager, 1)
    _wait(lambda: _states(manager) == {1: State.AVAILABLE})
    assert world.events == ["load 1", "unload 1", "load 1"]


def test_retries(world):
    world.broken.add(1)
    manager = Manager(world.load, max_load_retries=2, load_retry_seconds=0.02)
    try:
        _aspire(manager, 1)
        with pytest.raises(StatusError) as caught:
            manager.wait_until_ready(["m"], 10)
        assert caught.value.text == (
            "UNKNOWN: 1 model(s) did not become available: "
            "{{{name: m version: 1} due to error: DATA_LOSS: version 1 is broken}, }"
        )
        assert world.events == ["load 1"] * 3
    finally:
        manager.stop()


def test_a_retry_that_waits_ends_when_the_version_is_no_longer_wanted(world):
    world.broken.add(2)
    manager = Manager(world.load, max_load_retries=5, load_retry_seconds=60)
    try:
        _aspire(manager, 2)
        _wait(lambda: world.events == ["load 2"])
        _aspire(manager, 1)
        _wait(lambda: _states(manager) == {2: State.END, 1: State.AVAILABLE})
    finally:
        manager.stop()


def test_unknown(manager):
    for version, text in ((None, "Latest(m)"), (4, "Specific(m, 4)")):
        with pytest.raises(StatusError) as caught, manager.use("m", version):
            pass
        assert caught.value.text == f"NOT_FOUND: Servable not found for request: {text}"
    assert manager.wait_until_ready(["m"], 0.01) is False


def test_stop_unloads_after_the_last_request(world):
    manager = Manager(world.load)
    _aspire(manager, 1)
    manager.wait_until_ready(["m"], 10)
    release = threading.Event()
    held = threading.Event()

    def hold():
        with manager.use("m"):
            held.set()
            release.wait(10)
            world.events.append("request ends")

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    stopper = threading.Thread(target=manager.stop)
    stopper.start()
    time.sleep(0.05)
    release.set()
    stopper.join(10)
    thread.join(10)
    assert world.events == ["load 1", "request ends", "unload 1"]
