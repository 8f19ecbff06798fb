"""Session set-up: two logical devices, golden values, the photograph set."""

import json
import os
from pathlib import Path

import pytest

from tests.devices import on_gpus, split_devices

# Before anything imports TensorFlow: no GPU probing noise, no chatter.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
if not on_gpus():
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_configure(config):
    """Split the device into two logical ones: they stand in for two GPUs.

    It has to happen before anything touches TensorFlow's runtime; tests that need no
    TensorFlow (the client's, for example) check their imports in processes of their own. What
    only hands tests to workers (``pytest -n 2``) runs none and needs no TensorFlow.
    """
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        split_devices()


def pytest_collection_modifyitems(items):
    """Mark what watches the clock: servers, their deadlines and loads (`scripts/run_tests.py`)."""
    for item in items:
        if item.path.is_relative_to(REPOSITORY / "tests" / "serving"):
            item.add_marker(pytest.mark.timing)


@pytest.fixture(scope="session")
def golden():
    """Golden values of the systems' formulas: {system: {name: value}}."""
    path = REPOSITORY / "tests" / "golden" / "golden_values.json"
    return json.loads(path.read_text(encoding="utf-8"))


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
