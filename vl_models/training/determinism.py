"""Operations that repeat themselves to the bit, while it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

# TensorFlow's public interface can switch determinism on, but not off again.
from tensorflow.python.framework import config as framework_config


@contextmanager
def op_determinism(enabled: bool) -> Iterator[None]:
    """Make TensorFlow's operations deterministic inside the block.

    It holds for the process, and some operations then refuse to run (`tf.timestamp` among them,
    which a server's queues need), so what runs after the block must find it as it was.

    Args:
        enabled: False changes nothing.
    """
    before = framework_config.is_op_determinism_enabled()
    if enabled and not before:
        tf.config.experimental.enable_op_determinism()
    try:
        yield
    finally:
        if enabled and not before:
            framework_config.disable_op_determinism()
