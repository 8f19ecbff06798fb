"""The manager with servables that note what happens to them; TensorFlow plays no part here."""

import threading
import time
from pathlib import Path

import pytest

from serving.errors import Code, StatusError
from serving.model_server.management.manager import Manager, State
from tests.serving.waiting import wait_until


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


def test_new_is_loaded_before_old_is_unloaded(manager, world):
    _aspire(manager, 1)
    assert manager.wait_until_ready(["m"], 10)
    _aspire(manager, 2)
    wait_until(lambda: _states(manager) == {2: State.AVAILABLE, 1: State.END})
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
    wait_until(lambda: set(_states(manager).values()) == {State.END})
    assert world.events[2:] == ["unload 1", "unload 2"]


def test_failed_version_keeps_the_old_one_and_its_error(manager, world):
    _aspire(manager, 1)
    manager.wait_until_ready(["m"], 10)
    world.broken.add(2)
    _aspire(manager, 2)
    wait_until(lambda: _states(manager).get(2) == State.END)
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
    wait_until(lambda: _states(manager) == {1: State.AVAILABLE, 2: State.AVAILABLE})


def test_unload_waits_for_requests_under_way(manager, world):
    _aspire(manager, 1)
    manager.wait_until_ready(["m"], 10)
    with manager.use("m", 1) as entry:
        servable = entry.model
        _aspire(manager, 2)
        wait_until(lambda: _states(manager) == {2: State.AVAILABLE, 1: State.UNLOADING})
        # The loader is not blocked by the wait, and new requests get the new version.
        _aspire(manager, 2, 3)
        wait_until(lambda: _states(manager)[3] == State.AVAILABLE)
        with manager.use("m") as newest:
            assert newest.version == 3
        with pytest.raises(StatusError, match=r"Specific\(m, 1\)"), manager.use("m", 1):
            pass
        assert not servable.closed
    wait_until(lambda: _states(manager)[1] == State.END)
    assert servable.closed


def test_wanted_again_while_unloading(manager, world):
    _aspire(manager, 1)
    manager.wait_until_ready(["m"], 10)
    with manager.use("m", 1):
        _aspire(manager)
        wait_until(lambda: _states(manager) == {1: State.UNLOADING})
        _aspire(manager, 1)
    wait_until(lambda: _states(manager) == {1: State.AVAILABLE})
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
        wait_until(lambda: world.events == ["load 2"])
        _aspire(manager, 1)
        wait_until(lambda: _states(manager) == {2: State.END, 1: State.AVAILABLE})
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


def test_a_retry_that_succeeds_leaves_no_error(world):
    world.broken.add(1)
    manager = Manager(world.load, max_load_retries=5, load_retry_seconds=0.02)
    try:
        _aspire(manager, 1)
        wait_until(lambda: world.events)
        # While it is retried the version is loading, and nothing is wrong with it yet.
        assert manager.statuses("m") == [(1, State.LOADING, None)]
        world.broken.clear()
        assert manager.wait_until_ready(["m"], 10)
        assert manager.statuses("m") == [(1, State.AVAILABLE, None)]
    finally:
        manager.stop()


def test_a_retry_that_was_given_up_ends_with_its_error(world):
    world.broken.add(1)
    manager = Manager(world.load, max_load_retries=5, load_retry_seconds=60)
    try:
        _aspire(manager, 1)
        wait_until(lambda: world.events)
        _aspire(manager)
        wait_until(lambda: _states(manager) == {1: State.END})
        ((_, _, error),) = manager.statuses("m")
        assert error.text == "DATA_LOSS: version 1 is broken"
        assert world.events == ["load 1"]
    finally:
        manager.stop()


def test_other_models_load_while_one_waits_for_its_retry(world):
    world.broken.add(1)
    manager = Manager(world.load, max_load_retries=5, load_retry_seconds=60)
    try:
        _aspire(manager, 1)
        wait_until(lambda: world.events)
        manager.set_aspired("other", {2: Path("2")})
        assert manager.wait_until_ready(["other"], 10)
    finally:
        manager.stop()


@pytest.mark.parametrize(("threads", "together"), [(0, 1), (1, 1), (3, 3)])
def test_num_load_threads(threads, together):
    loading, most = [], []
    lock = threading.Lock()
    all_in = threading.Barrier(together)

    def load(name, version, path):
        with lock:
            loading.append(version)
            most.append(len(loading))
        all_in.wait(10)
        with lock:
            loading.remove(version)
        return Servable(World(), version)

    manager = Manager(load, num_load_threads=threads)
    try:
        _aspire(manager, 1, 2, 3)
        assert manager.wait_until_ready(["m"], 10)
        assert max(most) == together
    finally:
        manager.stop()


def test_an_unload_thread_unloads_while_another_version_loads(world):
    manager = Manager(world.load, num_load_threads=1, num_unload_threads=1)
    try:
        _aspire(manager, 1)
        assert manager.wait_until_ready(["m"], 10)
        world.gate.clear()
        manager.set_aspired("slow", {9: Path("9")})
        wait_until(lambda: manager.statuses("slow")[0][1] == State.LOADING)
        _aspire(manager)
        wait_until(lambda: _states(manager) == {1: State.END})
        assert manager.statuses("slow")[0][1] == State.LOADING
    finally:
        world.gate.set()
        manager.stop()


def test_a_version_that_is_no_longer_wanted_when_its_load_ends_is_unloaded(world):
    manager = Manager(world.load, num_load_threads=1)
    try:
        world.gate.clear()
        _aspire(manager, 1)
        wait_until(lambda: _states(manager) == {1: State.LOADING})
        _aspire(manager, 2)
        world.gate.set()
        wait_until(lambda: _states(manager) == {2: State.AVAILABLE, 1: State.END})
        assert world.events.count("unload 1") == 1
    finally:
        world.gate.set()
        manager.stop()


def test_a_version_that_cannot_be_closed_ends_all_the_same(manager, world, caplog):
    def close(servable):
        raise RuntimeError("stuck")

    _aspire(manager, 1)
    manager.wait_until_ready(["m"], 10)
    with manager.use("m") as entry:
        entry.model.close = lambda: close(entry.model)
    _aspire(manager, 2)
    wait_until(lambda: _states(manager) == {2: State.AVAILABLE, 1: State.END})
    assert "Unloading servable: {name: m version: 1} failed" in caplog.text


def test_the_highest_version_that_failed_is_named_for_each_model(manager, world):
    world.broken.update((1, 2, 5))
    _aspire(manager, 1, 2)
    manager.set_aspired("good", {3: Path("3")})
    manager.set_aspired("bad", {5: Path("5")})
    with pytest.raises(StatusError) as caught:
        manager.wait_until_ready(["m", "good", "bad"], 10)
    assert caught.value.text == (
        "UNKNOWN: 2 model(s) did not become available: "
        "{{{name: bad version: 5} due to error: DATA_LOSS: version 5 is broken}, "
        "{{name: m version: 2} due to error: DATA_LOSS: version 2 is broken}, }"
    )


def test_one_good_version_is_enough(manager, world):
    world.broken.add(2)
    _aspire(manager, 1, 2)
    assert manager.wait_until_ready(["m"], 10)


def test_a_wait_can_be_abandoned(manager):
    gone = threading.Event()
    answers = []
    waiter = threading.Thread(
        target=lambda: answers.append(manager.wait_until_ready(["m"], abandoned=gone.is_set))
    )
    waiter.start()
    gone.set()
    manager.wake()
    waiter.join(10)
    assert answers == [False]


def test_requests_of_many_threads_while_versions_come_and_go(world):
    """None is refused, none sees a closed version, and each version is closed once."""
    manager = Manager(world.load, num_load_threads=1, num_unload_threads=1)
    failures, served = [], set()
    stop = threading.Event()

    def request():
        while not stop.is_set():
            try:
                with manager.use("m") as entry:
                    served.add(entry.version)
                    if entry.model.closed:
                        failures.append(f"version {entry.version} is closed")
            except StatusError as error:
                failures.append(error.text)

    _aspire(manager, 1)
    assert manager.wait_until_ready(["m"], 10)
    threads = [threading.Thread(target=request) for _ in range(4)]
    try:
        for thread in threads:
            thread.start()
        for version in range(2, 12):
            _aspire(manager, version)
            wait_until(lambda version=version: _states(manager)[version - 1] == State.END)
            wait_until(lambda version=version: version in served)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        manager.stop()
    assert not failures
    assert served == set(range(1, 12))
    assert [e for e in world.events if e.startswith("unload")] == [
        f"unload {version}" for version in range(1, 12)
    ]


def test_a_version_that_moves_is_read_from_its_new_folder_when_it_is_loaded_again():
    paths = []

    def load(name, version, path):
        paths.append(str(path))
        return Servable(World(), version)

    manager = Manager(load)
    try:
        manager.set_aspired("m", {1: Path("old")})
        assert manager.wait_until_ready(["m"], 10)
        manager.set_aspired("m", {1: Path("new")})
        with manager.use("m", 1):
            manager.set_aspired("m", {})
            wait_until(lambda: _states(manager) == {1: State.UNLOADING})
            manager.set_aspired("m", {1: Path("newer")})
            assert paths == ["old"]
        wait_until(lambda: _states(manager) == {1: State.AVAILABLE})
        assert paths == ["old", "newer"]
    finally:
        manager.stop()


@pytest.mark.parametrize("threads", [0, 2])
def test_a_load_that_outlasts_the_stop_is_thrown_away(world, threads):
    manager = Manager(world.load, num_load_threads=threads)
    world.gate.clear()
    _aspire(manager, 1)
    wait_until(lambda: _states(manager) == {1: State.LOADING})
    assert manager.stop(timeout=0) is False
    assert world.events == []
    world.gate.set()
    wait_until(lambda: world.events == ["load 1", "unload 1"])
    wait_until(lambda: _states(manager) == {1: State.END})
    with pytest.raises(StatusError, match="Servable not found"):
        manager.acquire("m", None)


def test_a_stop_does_not_wait_for_retries_and_begins_no_load(world):
    world.broken.add(1)
    manager = Manager(world.load, max_load_retries=5, load_retry_seconds=60)
    _aspire(manager, 1)
    wait_until(lambda: world.events == ["load 1"])
    manager.begin_stop()
    _aspire(manager, 2)
    assert manager.stop(timeout=0) is True
    assert world.events == ["load 1"]


def test_a_request_that_outlasts_the_stop_keeps_its_version(world):
    manager = Manager(world.load)
    _aspire(manager, 1)
    manager.wait_until_ready(["m"], 10)
    with manager.use("m") as entry:
        assert manager.stop(timeout=0.05) is False
        assert not entry.model.closed
