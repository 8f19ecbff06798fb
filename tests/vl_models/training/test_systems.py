"""Every system trains alike on one device, two replicas, two processes; killed or not."""

import signal

import pytest
import tiny
from processes import assert_same_run, curves, finish, start, tf_configs
from tiny_systems import KILLED, OVER_WORKERS, SYSTEMS, make_trainer, settings

from vl_models.training.checkpoint import read_weights

# Processes after each other, each of which imports TensorFlow.
pytestmark = pytest.mark.timeout(1500)

STEPS_KILLED = 8


@pytest.fixture(scope="module")
def pattern(tmp_path_factory):
    return tiny.write_records(tmp_path_factory.mktemp("records"), shards=3, per_shard=7)


@pytest.fixture(scope="module")
def one_device(tmp_path_factory, strategies, pattern):
    """Folder with one run per system, on one device of this process."""
    folder = tmp_path_factory.mktemp("one")
    for name in SYSTEMS:
        make_trainer(name, folder / name, pattern, strategies[1]).fit()
    return folder


@pytest.mark.gpu
@pytest.mark.parametrize("system", SYSTEMS)
def test_two_replicas_equal_one_device(tmp_path, strategies, pattern, one_device, system):
    make_trainer(system, tmp_path / "two", pattern, strategies[2]).fit()
    assert_same_run(one_device / system, tmp_path / "two", 1e-5)
    rows = curves(one_device / system)
    # Clipping was at work; an empty queue of WenLan gives the first step no gradient.
    assert rows[-1]["gradient_norm"] > 0.3
    assert any(rows[0][key] != rows[-1][key] for key in rows[0] if key.startswith("loss/"))


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory, pattern):
    """Folder with one run per system, by two processes that know each other by TF_CONFIG."""
    folder = tmp_path_factory.mktemp("workers")
    jobs = [(name, folder / name, settings(), None) for name in OVER_WORKERS]
    workers = [
        start(folder, f"worker-{index}", pattern, jobs, config)
        for index, config in enumerate(tf_configs(2))
    ]
    for worker in workers:
        assert finish(worker).count(" 5\n") == len(OVER_WORKERS)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("system", OVER_WORKERS)
def test_two_workers_equal_one_device(one_device, two_workers, system):
    assert_same_run(one_device / system, two_workers / system, 1e-5)


@pytest.fixture(scope="module")
def killed_runs(tmp_path_factory, pattern):
    """Per system `<name>-whole`, and `<name>-killed`: killed at step 5, gone on with from step 3.

    One process makes all whole runs and dies in the first killed one; each following process
    resumes what the one before left, and dies in the next.
    """
    folder = tmp_path_factory.mktemp("killed")
    options = settings(steps=STEPS_KILLED, deterministic=True)
    whole = [(name, folder / f"{name}-whole", options, None) for name in KILLED]
    killed = [(name, folder / f"{name}-killed", options, 5) for name in KILLED]
    before = whole
    for number, job in enumerate(killed):
        process = start(folder, str(number), pattern, [*before, job])
        finish(process, code=-signal.SIGKILL)
        assert [row["step"] for row in curves(job[1])][-1] == 5
        before = [(*job[:3], None)]
    finish(start(folder, "last", pattern, before))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("system", KILLED)
def test_a_killed_run_resumes_to_the_bit(killed_runs, system):
    assert len(curves(killed_runs / f"{system}-whole")) == STEPS_KILLED
    assert_same_run(killed_runs / f"{system}-whole", killed_runs / f"{system}-killed", 0)
    assert read_weights(killed_runs / f"{system}-killed").keys()
