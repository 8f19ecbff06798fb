"""Fixtures of the tests of models, input and training."""

import pytest


@pytest.fixture(scope="session")
def image_tokenizer(tmp_path_factory):
    """An untrained tokeniser of 4 x 4 of 40 codes."""
    from tests.vl_models.fusion_systems import untrained_tokenizer

    return untrained_tokenizer(tmp_path_factory.mktemp("tokenizer"), codes=40)


@pytest.fixture(scope="session")
def strategies():
    """One device, and two replicas on two devices of the same kind."""
    import tensorflow as tf

    from tests.devices import device_names
    from tests.harness import two_replicas

    # A second MirroredStrategy over the same devices would mix up its collectives with the first.
    return {1: tf.distribute.OneDeviceStrategy(device_names()[0]), 2: two_replicas()}
