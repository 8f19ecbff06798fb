"""Fixtures of the tests of models, input and training."""

import pytest


@pytest.fixture(scope="session")
def strategies():
    """One device, and two replicas on two devices of the same kind."""
    import tensorflow as tf

    from tests.devices import device_names
    from tests.harness import two_replicas

    # A second MirroredStrategy over the same devices would mix up its collectives with the first.
    return {1: tf.distribute.OneDeviceStrategy(device_names()[0]), 2: two_replicas()}
