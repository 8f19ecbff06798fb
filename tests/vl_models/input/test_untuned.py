import os

import tensorflow as tf

from vl_models.input.untuned import processors, untuned


def test_only_the_tuning_is_off():
    options = tf.data.Options()
    options.deterministic = True
    dataset = tf.data.Dataset.range(5).map(lambda x: x + 1).with_options(options)

    left = untuned(dataset).batch(2)  # what comes after is not tuned either

    assert left.options().autotune.enabled is False
    assert left.options().deterministic is True
    assert [batch.tolist() for batch in left.as_numpy_iterator()] == [[1, 2], [3, 4], [5]]


def test_processors_are_those_that_this_process_may_use():
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert processors() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert processors() == len(allowed)
