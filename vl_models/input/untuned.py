"""tf.data as it is written, without TensorFlow's own tuning."""

from __future__ import annotations

import os

import tensorflow as tf


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Return the dataset with numbers of parallel calls and sizes of buffers as given.

    With TensorFlow's tuning (2.21), letting go of an iterator took 7 to 10 s without any work in
    half of the short trainings. The tuning has a thread for each iterator, which sleeps longer from
    round to round, up to a minute; it seems that it sometimes misses being woken.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def processors() -> int:
    """How many this process may use; where input is the bottleneck, tuning would end there, too."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # only Linux has it
        return os.cpu_count() or 1
