"""Batch normalisation over replicas: one value, the same in every copy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny

from vl_models.training.checkpoint import read_weights
from vl_models.training.config import TrainConfig
from vl_models.training.moving_statistics import moving_statistics
from vl_models.training.trainer import Trainer

MOMENTUM = 0.9


class Normalized(tiny.LinearDualEncoder):
    """The tiny model with batch normalisation of the pixels."""

    def __init__(self):
        super().__init__()
        self.norm = keras.layers.BatchNormalization(momentum=MOMENTUM, name="norm")

    def build(self):
        super().build()
        self.norm.build([None, tiny.SIZE * tiny.SIZE * 3])

    def encode(self, batch, training):
        pixels = tf.reshape(tf.cast(batch["image"], tf.float32), [-1, tiny.SIZE * tiny.SIZE * 3])
        embedding = tf.math.l2_normalize(self.image_tower(self.norm(pixels, training=training)), 1)
        return {"image": embedding, "text": self.encode_text(batch)}


@pytest.fixture(scope="module")
def pattern(tmp_path_factory):
    return tiny.write_records(tmp_path_factory.mktemp("records"), shards=3, per_shard=7)


def train(run_dir, strategy, pattern, **changes):
    settings = {
        "global_batch_size": 4,
        "steps": 3,
        "learning_rate": 0.01,
        "log_every": 1,
        "frozen": ["norm/gamma"],
        **changes,
    }
    config = TrainConfig.model_validate(settings)
    trainer = Trainer(Normalized, config, run_dir, strategy, [tiny.source(pattern)])
    trainer.fit()
    return trainer.model


@pytest.mark.gpu
@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_moving_means_are_those_of_the_global_batches(
    tmp_path, strategies, pattern, accumulation_steps
):
    models = {
        replicas: train(
            tmp_path / str(replicas), strategy, pattern, accumulation_steps=accumulation_steps
        )
        for replicas, strategy in strategies.items()
    }
    # The mean of the halves' means is the mean of the batch. The pixels do not depend on weights.
    one, two = (models[replicas].norm.moving_mean.numpy() for replicas in (1, 2))
    np.testing.assert_allclose(two, one, rtol=1e-5)
    assert np.all(one > 1.0)
    for variable in (models[2].norm.moving_mean, models[2].norm.moving_variance):
        first, second = strategies[2].experimental_local_results(variable.value)
        np.testing.assert_array_equal(first, second)
        saved = read_weights(tmp_path / "2")[variable.path]
        np.testing.assert_array_equal(saved, variable.numpy())


def test_frozen_statistics_stay(tmp_path, strategies, pattern):
    model = train(tmp_path, strategies[2], pattern, frozen=["norm/*"])
    for variable, value in zip(model.norm.variables, (1.0, 0.0, 0.0, 1.0), strict=True):
        np.testing.assert_array_equal(variable.numpy(), np.full(variable.shape, value))


def test_only_statistics_of_batch_normalization_are_meant():
    model = Normalized()
    model.build()
    names = [variable.path for variable in moving_statistics(model.variables)]
    assert names == ["norm/moving_mean", "norm/moving_variance"]
