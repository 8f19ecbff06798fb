"""Several worker processes: which one this is, and what the chief tells the others."""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import dataclass

import tensorflow as tf

from vl_models.errors import Interrupted, UserError

CHIEF = 0
_ROLES = ("chief", "worker")  # in the order of TensorFlow's replicas


@dataclass(frozen=True)
class WorkerPlace:
    """Index of this worker process, 0 is the chief, and the number of workers."""

    index: int
    count: int

    @property
    def is_chief(self) -> bool:
        """Whether this process writes what there is one of: checkpoints, history, towers."""
        return self.index == CHIEF


def place_in_cluster() -> WorkerPlace:
    """Return the place of this process in the cluster that TF_CONFIG describes; alone without one.

    Raises:
        UserError: TF_CONFIG is not JSON, or its task is none of the cluster's training workers.
    """
    text = os.environ.get("TF_CONFIG") or "{}"
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"TF_CONFIG is not JSON ({error}). Received: {text!r}.") from None
    cluster, task = config.get("cluster", {}), config.get("task", {})
    order = [(role, i) for role in _ROLES for i in range(len(cluster.get(role, [])))]
    if len(order) <= 1:
        return WorkerPlace(CHIEF, 1)
    own = (task.get("type"), int(task.get("index", -1)))
    if own not in order:
        raise UserError(
            f"TF_CONFIG: the task must be one of {', '.join(f'{r} {i}' for r, i in order)}. "
            f"Received: task={task!r}."
        )
    return WorkerPlace(order.index(own), len(order))


def await_chief(timeout: float = 600.0) -> None:
    """Wait until the chief's address in TF_CONFIG answers; TensorFlow itself waits unstoppably.

    Raises:
        UserError: it does not answer within ``timeout`` seconds.
    """
    cluster = json.loads(os.environ["TF_CONFIG"])["cluster"]
    address = next(cluster[role][0] for role in _ROLES if cluster.get(role))
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + timeout
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=5.0).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise UserError(
                    f"The chief does not answer at {address} after {timeout:g} s ({error}). Start "
                    "the same command there, and check the addresses in TF_CONFIG."
                ) from None
        time.sleep(0.5)


def worker_place(strategy: tf.distribute.Strategy) -> WorkerPlace:
    """Return the place of this process among the workers of a strategy."""
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return place_in_cluster()
    return WorkerPlace(CHIEF, 1)


def from_chief(strategy: tf.distribute.Strategy, value: int) -> int:
    """Return the chief's value, on every worker; all of them wait here for the slowest.

    Args:
        strategy: of this run.
        value: what this worker would say, an int64.

    Returns:
        What the chief said; with one worker, ``value``.

    Raises:
        Interrupted: a worker ended instead of answering.
    """
    if worker_place(strategy).count == 1:
        return value

    @tf.function(autograph=False)
    def exchange(own: tf.Tensor) -> tf.Tensor:
        def replica() -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            return context.all_gather(tf.identity(own)[tf.newaxis], axis=0)

        return strategy.experimental_local_results(strategy.run(replica))[0]

    try:
        return int(exchange(tf.constant(value, tf.int64))[0])
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError) as error:
        raise worker_lost() from error


def worker_lost() -> Interrupted:
    """Return what to raise where a collective broke off.

    Nothing is wrong with this worker's input: whoever started the workers can start them again.
    """
    return Interrupted(
        "Another worker ended, so this one cannot go on: see the other's message. Start the same "
        "command on all workers again to continue from the last checkpoint."
    )
