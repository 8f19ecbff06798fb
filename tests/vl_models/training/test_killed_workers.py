"""A worker process is killed: started again as by a TFJob, the run ends as if nothing had been."""

import signal
import time

import pytest
import tiny
from processes import assert_same_run, start, tf_configs
from tiny_systems import make_trainer, settings

from vl_models.training.checkpoint import latest_checkpoint

# Several processes after each other, each of which imports TensorFlow.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

SYSTEM = "clip"
STEPS, KILLED_AT, CHECKPOINT = 8, 5, 3
OPTIONS = settings(steps=STEPS, checkpoint_every=CHECKPOINT, global_batch_size=6)
# As Kubernetes reports a signal, and as a TFJob's ExitCode policy decides.
RETRIED = 128


@pytest.fixture(scope="module")
def pattern(tmp_path_factory):
    return tiny.write_records(tmp_path_factory.mktemp("records"), shards=3, per_shard=7)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, strategies, pattern):
    """The uninterrupted run, on one device."""
    folder = tmp_path_factory.mktemp("whole")
    make_trainer(SYSTEM, folder, pattern, strategies[1], **OPTIONS).fit()
    return folder


class Job:
    """Workers, each started again on its own whenever it ends with a code that is retried."""

    def __init__(self, folder, pattern, workers, victim):
        self._folder, self._pattern = folder, pattern
        self._configs = tf_configs(workers)
        self._starts = 0
        self.run = folder / "run"
        self.ends = []
        self.history = []
        self._running = {
            i: self._start(i, KILLED_AT if i == victim else None) for i in range(workers)
        }

    def finish(self):
        """Wait until all workers ended with 0."""
        deadline = time.monotonic() + 1000
        try:
            while self._running:
                assert time.monotonic() < deadline
                time.sleep(0.05)
                for index, process in list(self._running.items()):
                    if process.poll() is not None:
                        self._ended(index, process)
        finally:
            for process in self._running.values():
                process.kill()
                process.communicate()

    def _start(self, index, kill_at):
        self._starts += 1
        jobs = [(SYSTEM, self.run, OPTIONS, kill_at)]
        name = f"start-{self._starts}"
        return start(self._folder, name, self._pattern, jobs, self._configs[index])

    def _ended(self, index, process):
        output, _ = process.communicate()
        code = process.returncode if process.returncode >= 0 else 128 - process.returncode
        self.ends.append((index, code))
        del self._running[index]
        if code == 0:
            return
        assert code >= RETRIED, output
        if code != 128 + signal.SIGKILL:
            assert "Another worker ended" in output
        if not self.history:
            self.history = (self.run / "history.jsonl").read_text("utf-8").splitlines()
            assert latest_checkpoint(self.run / "checkpoints").step == CHECKPOINT
        self._running[index] = self._start(index, None)


@pytest.mark.parametrize(("workers", "victim"), [(2, 0), (3, 2)])
def test_a_job_with_a_killed_worker_ends_like_the_uninterrupted_one(
    tmp_path, whole, pattern, workers, victim
):
    job = Job(tmp_path, pattern, workers, victim)
    job.finish()

    assert job.ends[0] == (victim, 128 + signal.SIGKILL)
    # All others ended because of it, and were started again.
    assert {index for index, code in job.ends if code == 130} == set(range(workers)) - {victim}
    assert_same_run(whole, job.run, 1e-5)
    # It went on: the steps before the checkpoint were not made again.
    lines = (job.run / "history.jsonl").read_text("utf-8").splitlines()
    assert len(lines) == STEPS and lines[:CHECKPOINT] == job.history[:CHECKPOINT]
