"""From a device specification to a tf.distribute strategy."""

from __future__ import annotations

import functools
import os
import re
import signal
import threading

import tensorflow as tf

from vl_models.errors import UserError
from vl_models.training.workers import await_chief, place_in_cluster


def make_strategy(devices: str = "auto") -> tf.distribute.Strategy:
    """Return the strategy over some devices; call it before anything else uses TensorFlow.

    The same object for the same devices: a second MirroredStrategy over them would number its
    collectives anew, and TensorFlow then takes them for those of the first.

    With several workers in TF_CONFIG this is MultiWorkerMirroredStrategy over the devices of
    each worker; else MirroredStrategy over several local devices, or the one device.

    Args:
        devices: "auto" (all GPUs, else one CPU), "cpu", "cpu:N" (N logical CPU devices),
            "gpu" (all), "gpu:N" (the first N).

    Returns:
        The strategy; `num_replicas_in_sync` is the number of replicas.

    Raises:
        UserError: a malformed specification, or fewer devices than asked for.
    """
    return _make(devices, os.environ.get("TF_CONFIG"))


@functools.cache
def _make(devices: str, tf_config: str | None) -> tf.distribute.Strategy:
    del tf_config  # part of the cache's key
    match = re.fullmatch(r"(auto|cpu|gpu)(?::([1-9]\d*))?", devices)
    if match is None or (match[1] == "auto" and match[2]):
        raise UserError(
            "Devices are 'auto', 'cpu', 'cpu:N', 'gpu' or 'gpu:N', N from 1. "
            f"Received: devices={devices!r}."
        )
    if place_in_cluster().count > 1:
        return _over_workers(devices)
    kind = match[1]
    if kind == "auto":
        kind = "gpu" if tf.config.list_physical_devices("GPU") else "cpu"
    count = int(match[2]) if match[2] else None
    names = _gpus(count) if kind == "gpu" else _logical_cpus(count or 1)
    if len(names) == 1:
        return tf.distribute.OneDeviceStrategy(names[0])
    return tf.distribute.MirroredStrategy(names)


def _over_workers(devices: str) -> tf.distribute.Strategy:
    """Over all devices of one kind of every worker; it waits until all workers are there."""
    if ":" in devices:
        raise UserError(
            "With several workers in TF_CONFIG each trains on all its GPUs, or on its CPU: give "
            f"devices 'auto', 'cpu' or 'gpu'. Received: devices={devices!r}."
        )
    gpus = tf.config.list_physical_devices("GPU")
    if devices == "gpu" and not gpus:
        raise UserError("devices='gpu', but this worker has no GPU. Use 'auto' or 'cpu'.")
    if devices == "cpu" and gpus:
        tf.config.set_visible_devices([], "GPU")
    if not place_in_cluster().is_chief:
        await_chief()
    previous = signal.getsignal(signal.SIGTERM) or signal.SIG_DFL
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    if threading.current_thread() is threading.main_thread():
        # TensorFlow now catches SIGTERM for a notifier that nobody here listens to.
        signal.signal(signal.SIGTERM, previous)
    return strategy


def _gpus(count: int | None) -> list[str]:
    available = len(tf.config.list_logical_devices("GPU"))
    if available < (count or 1):
        raise UserError(
            f"{count or 'At least one'} GPU(s) asked for, {available} found. "
            "Use devices='auto' to train on what there is."
        )
    return [f"GPU:{index}" for index in range(count or available)]


def _logical_cpus(count: int) -> list[str]:
    """Split the CPU into logical devices, unless TensorFlow already runs with enough."""
    if count > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        configuration = tf.config.get_logical_device_configuration(cpu)
        if configuration is None or len(configuration) < count:
            try:
                tf.config.set_logical_device_configuration(
                    cpu, [tf.config.LogicalDeviceConfiguration()] * count
                )
            except RuntimeError as error:
                raise UserError(
                    f"The CPU cannot be split into {count} devices any more: TensorFlow already "
                    "runs. Make the strategy before anything else."
                ) from error
    return [f"CPU:{index}" for index in range(count)]
