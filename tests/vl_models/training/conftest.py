"""Makes the helper modules of this folder importable, by tests and by their subprocesses."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def strategies():
    """One device, and two replicas on two logical CPUs."""
    import tensorflow as tf

    from tests.harness import two_replicas

    # A second MirroredStrategy over the same devices would mix up its collectives with the first.
    return {1: tf.distribute.OneDeviceStrategy("CPU:0"), 2: two_replicas()}
