"""Which devices the tests run on: two logical CPUs, or GPUs under `make test-gpu`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

# Of one GPU that stands in for two, in MiB; the tests are tiny.
_LOGICAL_MEMORY = 2048


def on_gpus() -> bool:
    """Whether this session tests on GPUs."""
    return os.environ.get("VLSEARCH_TEST_DEVICES") == "gpu"


def device_names() -> list[str]:
    """The two devices."""
    kind = "GPU" if on_gpus() else "CPU"
    return [f"{kind}:0", f"{kind}:1"]


def split_devices() -> None:
    """Make two logical CPUs, and two GPUs of one; before anything uses TensorFlow's runtime."""
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    if not on_gpus():
        return
    # Equality to 1e-5 is what is tested; TensorFloat-32 has three decimal digits.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    gpus = tf.config.list_physical_devices("GPU")
    if len(gpus) == 1:
        half = tf.config.LogicalDeviceConfiguration(memory_limit=_LOGICAL_MEMORY)
        tf.config.set_logical_device_configuration(gpus[0], [half, half])


def mirrored_strategy() -> tf.distribute.Strategy:
    """A new strategy over the two devices."""
    import tensorflow as tf

    # NCCL does not run between two halves of one GPU.
    halves = on_gpus() and len(tf.config.list_physical_devices("GPU")) == 1
    operations = tf.distribute.HierarchicalCopyAllReduce() if halves else None
    return tf.distribute.MirroredStrategy(device_names(), cross_device_ops=operations)
