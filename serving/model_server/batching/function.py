"""Puts part of a loaded graph behind TensorFlow's batching operator.

`BatchFunction` (tensorflow/core/kernels/batch_kernels.cc) gathers the concurrent runs of a session
in C++, runs a function once on their inputs, concatenated along the first dimension, and gives each
run its rows of the outputs. A SavedModel holds no such function, so one is cut out of its graph:
what lies between the inputs and the outputs of a signature. Variables and tables stay outside and
are captured.

Each row brings a ticket along, so that a batch nobody waits for any more is not computed, and so
that each request learns in what company it ran.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2
from tensorflow.python.client import pywrap_tf_session

from serving.model_server.batching.config import BatchingParameters

# The text of BatchingSession::ProcessBatch, which finds it out at the same moment.
TIMED_OUT = "Run() timeout exceeded while waiting in batching queue"
# Columns of a ticket: until when an answer is wanted (Unix time), and a number unlike all others.
TICKET_COLUMNS = 2
# One scheduler with its threads for all queues of a session.
_SCHEDULER = "vlsearch_batching"


class NotBatchableError(Exception):
    """The graph cannot be run inside of a function; the message says why."""


@dataclass(frozen=True)
class BatchedGraph:
    """Part of a graph as a function: what `add_queue` needs to know of it."""

    graph: tf.Graph
    function: str
    input_types: tuple[tf.DType, ...]
    output_types: tuple[tf.DType, ...]
    captured: tuple[tf.Tensor, ...]


def cut_out(
    graph: tf.Graph, inputs: Sequence[tf.Tensor], outputs: Sequence[tf.Tensor], name: str
) -> BatchedGraph:
    """Copy what lies between `inputs` and `outputs` into a function called `name`.

    The function takes the inputs, the tickets (float64 [rows, 2]) and what is captured; it returns
    the outputs and, for each row, [when the batch began, rows run, rows of padding, whether this is
    the first row] as float64 [rows, 4]. It fails with `TIMED_OUT` if no row's time is left.

    Raises:
        NotBatchableError: an operator in between uses a TensorFlow 1 reference variable itself.
    """
    body, captured = _between(inputs, outputs)
    with graph.as_default(), tf.name_scope(name), tf.device(None):
        # A function cannot return its own argument.
        outputs = [tf.identity(t) if _is_in(t, inputs) else t for t in outputs]
        body += [t.op for t in outputs if t.op not in body]
        inner = _define(graph, f"{name}_body", body, [*inputs, *captured], outputs)
        arguments = [tf.compat.v1.placeholder(t.dtype) for t in inputs]
        tickets = tf.compat.v1.placeholder(tf.float64, [None, TICKET_COLUMNS])
        handles = [tf.compat.v1.placeholder(t.dtype) for t in captured]
        now = tf.timestamp()
        in_time = tf.debugging.Assert(tf.reduce_any(tickets[:, 0] > now), [TIMED_OUT])
        with tf.control_dependencies([in_time]):
            values = tf.raw_ops.StatefulPartitionedCall(
                args=arguments + handles,
                Tout=[t.dtype for t in outputs],
                f=attr_value_pb2.NameAttrList(name=inner),
            )
        results = [*values, _company(tickets, now)]
        parameters = [*arguments, tickets, *handles]
        own = _between(parameters, results)[0]
        _define(graph, name, own, parameters, results)
    return BatchedGraph(
        graph,
        name,
        (*(t.dtype for t in inputs), tf.float64),
        tuple(t.dtype for t in results),
        tuple(captured),
    )


def add_queue(
    batched: BatchedGraph, parameters: BatchingParameters, queue: str
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Add an operator with a queue of its own; returns the tensors to feed and those to fetch."""
    graph = batched.graph
    with graph.as_default(), tf.device(None):
        feeds = [tf.compat.v1.placeholder(dtype) for dtype in batched.input_types]
        fetches = tf.raw_ops.BatchFunction(
            in_tensors=feeds,
            captured_tensors=batched.captured,
            f=attr_value_pb2.NameAttrList(name=batched.function),
            Tout=batched.output_types,
            num_batch_threads=parameters.num_batch_threads,
            max_batch_size=parameters.max_batch_size,
            batch_timeout_micros=parameters.batch_timeout_micros,
            max_enqueued_batches=parameters.max_enqueued_batches,
            allowed_batch_sizes=_sizes(parameters),
            enable_large_batch_splitting=parameters.enable_large_batch_splitting,
            shared_name=_SCHEDULER,
            batching_queue=queue,
        )
    return feeds, fetches


def _company(tickets: tf.Tensor, now: tf.Tensor) -> tf.Tensor:
    """[when the batch began, rows run, rows of padding, whether this is the first] of each row."""
    rows = tf.shape(tickets)[0]
    # Padding repeats a row at the end of the batch, with its ticket.
    alike = tf.equal(tickets[:, 1], tickets[-1, 1])
    padding = tf.reduce_sum(tf.cast(alike, tf.float64)) - 1.0
    batch = tf.stack([now, tf.cast(rows, tf.float64), padding])
    first = tf.cast(tf.equal(tf.range(rows), 0), tf.float64)
    return tf.concat([tf.broadcast_to(batch, [rows, 3]), first[:, tf.newaxis]], axis=1)


def _between(
    inputs: Sequence[tf.Tensor], outputs: Sequence[tf.Tensor]
) -> tuple[list[tf.Operation], list[tf.Tensor]]:
    """The operators that `outputs` need once `inputs` are given, and the tensors to capture."""
    fed = {t.ref() for t in inputs}
    dependent = _dependent(inputs)
    body: dict[tf.Operation, None] = {}
    captured: dict[Any, tf.Tensor] = {}
    pending = [t.op for t in outputs if t.ref() not in fed]
    while pending:
        operator = pending.pop()
        if operator in body:
            continue
        body[operator] = None
        for tensor in operator.inputs:
            if tensor.ref() in fed:
                continue
            if _is_handle(tensor) or _reads_reference(tensor, dependent):
                captured[tensor.ref()] = tensor
            else:
                pending.append(tensor.op)
        pending += operator.control_inputs
    for operator in body:
        if any(t.dtype._is_ref_dtype for t in (*operator.inputs, *operator.outputs)):
            raise NotBatchableError(f"{operator.name} uses a TensorFlow 1 reference variable")
    return list(body), list(captured.values())


def _dependent(inputs: Sequence[tf.Tensor]) -> set[tf.Operation]:
    """Operators whose result depends on `inputs`."""
    found: set[tf.Operation] = set()
    pending = [op for tensor in inputs for op in tensor.consumers()]
    while pending:
        operator = pending.pop()
        if operator not in found:
            found.add(operator)
            pending += [op for tensor in operator.outputs for op in tensor.consumers()]
    return found


def _is_handle(tensor: tf.Tensor) -> bool:
    """Whether it is the handle of a variable or a table, which must not be made anew in there."""
    return tensor.dtype in (tf.resource, tf.variant) and not tensor.op.inputs


def _reads_reference(tensor: tf.Tensor, dependent: set[tf.Operation]) -> bool:
    """Whether it is the value of a TensorFlow 1 reference variable: functions take values only."""
    return (
        not tensor.dtype._is_ref_dtype
        and tensor.op not in dependent
        and any(t.dtype._is_ref_dtype for t in tensor.op.inputs)
    )


def _is_in(tensor: tf.Tensor, tensors: Sequence[tf.Tensor]) -> bool:
    return any(tensor is other for other in tensors)


def _define(
    graph: tf.Graph,
    name: str,
    body: Sequence[tf.Operation],
    inputs: Sequence[tf.Tensor],
    outputs: Sequence[tf.Tensor],
) -> str:
    """Add a function made of operators of the graph to the graph's own library."""
    # TensorFlow's public ways to a function all trace Python; these are what they end in.
    with graph._c_graph.get() as c_graph:
        function = pywrap_tf_session.TF_GraphToFunction_wrapper(
            c_graph,
            name,
            False,
            [operator._c_op for operator in body],
            [tensor._as_tf_output() for tensor in inputs],
            [tensor._as_tf_output() for tensor in outputs],
            [],
            [],
            [],
            None,
            "",
        )
        try:
            pywrap_tf_session.TF_GraphCopyFunction(c_graph, function, None)
        finally:
            pywrap_tf_session.TF_DeleteFunction(function)
    return name


def _sizes(parameters: BatchingParameters) -> list[int]:
    sizes = list(parameters.allowed_batch_sizes)
    if parameters.enable_large_batch_splitting and parameters.max_execution_batch_size:
        # The operator knows no such limit but the last allowed size; allowing all sizes up to it
        # sets the limit without any padding.
        sizes = sizes or list(range(1, parameters.max_execution_batch_size + 1))
    return sizes
