import numpy as np
import tensorflow as tf

from tests.harness import two_replicas
from vl_models.layers.meter import Meter


def test_the_last_record_is_read_on_one_device_and_on_two():
    alone, strategy = Meter(), two_replicas()
    alone.build()
    assert np.isnan(alone.read())
    alone.record(tf.constant(0.25))
    alone.record(tf.constant(0.5))
    assert float(alone.read()) == 0.5
    with strategy.scope():
        both = Meter()
        both.build()
    strategy.run(tf.function(lambda: both.record(tf.constant(0.75))))
    copies = strategy.experimental_local_results(both.value.value)
    assert [float(copy) for copy in copies] == [0.75, 0.75]
