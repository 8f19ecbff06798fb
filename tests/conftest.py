"""Session set-up: two logical devices, golden values, the photograph set."""

import json
import os
import shutil
from pathlib import Path

import hypothesis
import pytest
from filelock import FileLock

from serving.loopback import bypass_proxies
from tests.devices import on_gpus, split_devices

# Before anything imports TensorFlow: no GPU probing noise, no chatter.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
if not on_gpus():
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

REPOSITORY = Path(__file__).resolve().parent.parent

# The longest files of either session of scripts/run_tests.py, the longest first.
LONGEST = (
    "tests/notebooks/test_notebooks.py",
    "tests/tfx_pipeline/test_end_to_end.py",
    "tests/vl_models/training/test_systems.py",
    "tests/vl_models/training/test_stages_of_vlmo.py",
    "tests/vl_models/training/test_batch_kinds_of_flava.py",
    "tests/tfx_pipeline/runners/test_kubeflow_local.py",
    "tests/tfx_pipeline/test_feature_run.py",
    "tests/vl_models/training/test_acceleration.py",
    "tests/vl_models/training/test_trainer.py",
    "tests/vl_models/training/test_killed_workers.py",
    "tests/tfx_pipeline/test_click_loop.py",
    "tests/serving/gateway/test_page.py",
    "tests/tfx_pipeline/test_composed_run.py",
    "tests/tfx_pipeline/test_reranked_run.py",
    "tests/tfx_pipeline/test_worker_run.py",
    "tests/tfx_pipeline/cli/test_compare.py",
    "tests/vl_models/models/test_prefix_conditioning.py",
    "tests/tfx_pipeline/test_training_run.py",
    "tests/vl_models/tasks/test_tasks.py",
    "tests/vl_models/input/test_mixed_batches.py",
    "tests/vl_models/input/test_source.py",
    "tests/vl_models/training/test_signals.py",
    "tests/tfx_pipeline/cli/test_tune.py",
    "tests/vl_models/models/test_wenlan.py",
    "tests/vl_models/models/test_coca.py",
    "tests/vl_models/test_export.py",
    "tests/vl_models/models/test_clip.py",
    "tests/tfx_pipeline/test_tuned_pipeline.py",
    "tests/tfx_pipeline/test_index_only.py",
    "tests/benchmarks/test_gateway.py",
    "tests/serving/model_server/test_termination.py",
    "tests/serving/model_server/test_server.py",
    "tests/serving/model_server/transitions/test_versions.py",
)


def pytest_configure(config):
    """Split the device into two logical ones, which stand in for two GPUs; set Hypothesis up.

    The first has to happen before anything touches TensorFlow's runtime; tests that need no
    TensorFlow (the client's, for example) check their imports in processes of their own. What
    only hands tests to workers (``pytest -n 2``) runs none and needs no TensorFlow.
    """
    bypass_proxies()  # servers of tests are on loopback
    # How long an example takes depends on what else the machine does.
    hypothesis.settings.register_profile("tests", deadline=None)
    hypothesis.settings.load_profile("tests")
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        split_devices()


def pytest_collection_modifyitems(items):
    """Start the longest files first, so that all workers end at about the same time."""
    place = {path: number for number, path in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.nodeid.split("::")[0], len(place)))


@pytest.fixture(scope="session")
def golden():
    """Golden values of the systems' formulas: {system: {name: value}}."""
    path = REPOSITORY / "tests" / "golden" / "golden_values.json"
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def made_once(tmp_path_factory, worker_id):
    """(name, make) -> a folder that the run's workers share, and that nobody may change.

    The first worker to ask makes it, by ``make(folder)``; the others wait.
    """
    # Each worker's folder lies in the run's.
    base = tmp_path_factory.getbasetemp()
    root = base if worker_id == "master" else base.parent

    def share(name, make):
        folder, done = root / name, root / f"{name}.done"
        with FileLock(root / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed
                make(folder)
                done.touch()
        return folder

    return share


@pytest.fixture(scope="session")
def photos():
    """Folder of the photograph set (images/ and captions.jsonl), or skip with the reason."""
    candidates = [
        os.environ.get("VLSEARCH_PHOTOS"),
        REPOSITORY.parent / "shared/data/flickr8k_1000",
    ]
    for candidate in candidates:
        if candidate and (Path(candidate) / "captions.jsonl").is_file():
            return Path(candidate)
    pytest.skip(
        "no photograph set: set VLSEARCH_PHOTOS to a folder with captions.jsonl and images/"
    )
