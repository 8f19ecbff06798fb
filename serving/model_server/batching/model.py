"""A model whose requests run together in batches, as TensorFlow Serving's BatchingSession has them.

The queues are TensorFlow's own, in C++ (see `function`). What is decided here, before a
request enters one, is that it cannot spoil the batch it will share: each signature and shape has a
queue of its own, and what no queue would take is refused or run by itself. If a batch fails all the
same, its members run again alone, so that only those fail that are to blame.
"""

from __future__ import annotations

import itertools
import logging
import re
import threading
import time
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from serving.errors import Code, StatusError, invalid
from serving.model_server.batching.config import BatchingParameters
from serving.model_server.batching.function import (
    TICKET_COLUMNS,
    TIMED_OUT,
    BatchedGraph,
    NotBatchableError,
    add_queue,
    cut_out,
)
from serving.model_server.models.saved_model import SavedModel
from serving.model_server.monitoring.metrics import record_batched_run

_logger = logging.getLogger(__name__)

# Operators cannot be taken out of a graph again, and shapes come from callers.
MAX_SHAPES = 64
# Texts of the batching operator that hold for the request itself: alone it must not succeed either.
_FINAL = (
    "batch scheduling queue",
    "is larger than maximum input batch size",
    "Batched output tensor",
)
# Where the texts of the operator go on after those of TensorFlow Serving: numbers, its own name.
_ADDITION = re.compile(r"\. 0th dimension size: |\n\t \[\[\{\{node ")
_NEVER = float("inf")
# Between the numbers of two requests' first rows. Numbers stay exact in float64 for 2^33 requests.
_ROWS_BETWEEN = 2.0**20


class BatchedModel:
    """A SavedModel that runs concurrent requests of the same signature and shape together.

    Attributes:
        signatures: SignatureDef by name.
    """

    def __init__(self, model: SavedModel, parameters: BatchingParameters):
        self.signatures = model.signatures
        self._model = model
        self._lanes: dict[tuple[frozenset[str], frozenset[str]], _Lane] = {}
        for name, signature in model.signatures.items():
            feeds = sorted({info.name for info in signature.inputs.values()})
            fetches = sorted({info.name for info in signature.outputs.values()})
            key = frozenset(feeds), frozenset(fetches)
            if key in self._lanes or not feeds:
                continue
            try:
                self._lanes[key] = _Lane(model, parameters, f"batched_{name}", feeds, fetches)
            except (NotBatchableError, KeyError, ValueError) as error:
                # KeyError, ValueError: the signature names what is no tensor of the graph.
                _logger.warning("Signature %s is run without batching: %s.", name, error)

    def run(
        self,
        feeds: Mapping[str, np.ndarray],
        fetches: Sequence[str],
        deadline: float | None = None,
    ) -> list[np.ndarray]:
        """As `SavedModel.run`; other tensors than those of a whole signature are run alone.

        Raises:
            StatusError: INVALID_ARGUMENT, inputs whose first dimensions differ; UNAVAILABLE at
                once, a full queue; RESOURCE_EXHAUSTED, the deadline passed in the queue; or what
                the graph raised for this request.
        """
        lane = self._lanes.get((frozenset(feeds), frozenset(fetches)))
        if lane is None:
            return self._model.run(feeds, fetches, deadline)
        rows = _count_rows(feeds)
        values = None
        try:
            if rows:
                values = lane.run(feeds, rows, deadline)
        except tf.errors.OpError as error:
            if TIMED_OUT in error.message:
                raise StatusError(Code.RESOURCE_EXHAUSTED, TIMED_OUT) from error
            if any(text in error.message for text in _FINAL):
                message = _ADDITION.split(error.message)[0]
                raise StatusError(Code(error.error_code), message) from error
        if values is None:
            return self._model.run(feeds, fetches, deadline)
        return [values[name] for name in fetches]

    def close(self) -> None:
        """Frees the graph and its variables; nothing may run it afterwards."""
        self._lanes.clear()
        self._model.close()


class _Lane:
    """One signature: the function that runs it, and a queue for each shape of its inputs."""

    def __init__(
        self,
        model: SavedModel,
        parameters: BatchingParameters,
        name: str,
        feeds: Sequence[str],
        fetches: Sequence[str],
    ):
        self._model = model
        self._parameters = parameters
        self._name = name
        self._feeds = feeds
        self._fetches = fetches
        self._inputs = [model.graph.get_tensor_by_name(feed) for feed in feeds]
        outputs = [model.graph.get_tensor_by_name(fetch) for fetch in fetches]
        with model.graph_lock:
            self._batched = cut_out(model.graph, self._inputs, outputs, name)
        self._queues: dict[tuple[tuple[int, ...], ...], _Queue] = {}
        self._lock = threading.Lock()

    def run(
        self, feeds: Mapping[str, np.ndarray], rows: int, deadline: float | None
    ) -> dict[str, np.ndarray] | None:
        """Return outputs by name; None if these inputs have to be run alone."""
        arrays = [feeds[name] for name in self._feeds]
        if any(a.dtype != t.dtype.as_numpy_dtype for a, t in zip(arrays, self._inputs)):
            # The session says what is wrong with it.
            return None
        if self._parameters.pad_variable_length_inputs:
            arrays = [_padded(a, t.shape) for a, t in zip(arrays, self._inputs)]
        shapes = tuple(a.shape[1:] for a in arrays)
        queue = self._queues.get(shapes) or self._new_queue(shapes)
        if queue is None:
            return None
        return dict(zip(self._fetches, queue.run(arrays, rows, deadline)))

    def _new_queue(self, shapes: tuple[tuple[int, ...], ...]) -> _Queue | None:
        with self._lock:
            if shapes in self._queues:
                return self._queues[shapes]
            if len(self._queues) >= MAX_SHAPES:
                return None
            queue = _Queue(
                self._model, self._batched, self._parameters, f"{self._name}_{len(self._queues)}"
            )
            self._queues[shapes] = queue
            if len(self._queues) == MAX_SHAPES:
                _logger.warning(
                    "%s has had inputs of %d shapes; further shapes are run without batching. "
                    "pad_variable_length_inputs makes them fewer.",
                    self._name,
                    MAX_SHAPES,
                )
            return queue


class _Queue:
    """One queue of TensorFlow's batch scheduler."""

    def __init__(
        self, model: SavedModel, batched: BatchedGraph, parameters: BatchingParameters, name: str
    ):
        with model.graph_lock:
            feeds, fetches = add_queue(batched, parameters, name)
        self._function = model.compiled(
            tuple(t.name for t in feeds), tuple(t.name for t in fetches)
        )
        self._pool = parameters.thread_pool_name
        self._numbers = itertools.count()

    def run(
        self, arrays: Sequence[np.ndarray], rows: int, deadline: float | None
    ) -> list[np.ndarray]:
        """Values of the outputs; returns when the batch that these rows went into has been run."""
        start = time.time()
        tickets = np.empty((rows, TICKET_COLUMNS))
        tickets[:, 0] = _NEVER if deadline is None else start + deadline - time.monotonic()
        tickets[:, 1] = next(self._numbers) * _ROWS_BETWEEN + np.arange(rows)
        *values, company = self._function(*arrays, tickets)
        began, executed, padding, first = company.T
        record_batched_run(
            self._pool,
            float(began[0] - start) * 1e6,
            rows,
            [(int(executed[i]), int(padding[i])) for i in np.flatnonzero(first)],
        )
        return values


def _count_rows(feeds: Mapping[str, np.ndarray]) -> int:
    """Return the first dimension, which all inputs share (BatchingSession::ComputeInputSize)."""
    rows: int | None = None
    for array in feeds.values():
        if not array.ndim:
            raise invalid("Batching Run() input tensors must have at least one dimension")
        if rows is not None and len(array) != rows:
            raise invalid("Batching Run() input tensors must have equal 0th-dimension size")
        rows = len(array)
    return rows or 0


def _padded(array: np.ndarray, known: tf.TensorShape) -> np.ndarray:
    """`array` with each dimension that the graph leaves open padded to the next power of two.

    The value is that of the first element, as in TensorFlow Serving; there, dimensions are padded
    to the longest of the batch, so that an answer depends on the company that a request happens to
    be in.
    """
    if not array.size or known.rank != array.ndim:
        return array
    sizes = [
        size if fixed is not None or not axis else 1 << (size - 1).bit_length()
        for axis, (size, fixed) in enumerate(zip(array.shape, known.as_list()))
    ]
    if tuple(sizes) == array.shape:
        return array
    padded = np.full(sizes, array.flat[0], dtype=array.dtype)
    padded[tuple(slice(size) for size in array.shape)] = array
    return padded
