"""Variables in the dtype that a graph computes with, for graphs that only read them.

Mixed precision keeps float32 variables, which optimisers need, and casts them wherever they are
read. A served graph would do so for every query, at the price of a good part of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping

import keras
import tensorflow as tf

_READ, _GATHER, _CAST = ("ReadVariableOp", "Identity"), ("GatherV2", "ResourceGather"), "Cast"


@contextlib.contextmanager
def in_compute_dtype(
    variables: Iterable[keras.Variable], functions: Iterable[tf.types.experimental.ConcreteFunction]
) -> Iterator[bool]:
    """Store variables, while a block runs, in the dtype that graphs cast them to.

    That is done to variables of which every one of the graphs reads nothing but that cast, of the
    whole or of gathered rows, so that graphs traced within the block compute the same to the bit.

    Args:
        variables: of the model.
        functions: its graphs, with the variables as they are.

    Yields:
        Whether there are such variables; otherwise the graphs are good as they are.
    """
    casts: dict[int, set[tf.DType | None]] = {}
    for function in functions:
        for handle, dtypes in _dtypes_read(function).items():
            casts.setdefault(handle, set()).update(dtypes)
    replaced = []
    try:
        for variable in variables:
            value = variable._value
            # One for each replica, if it is mirrored.
            handles = (id(one.handle) for one in getattr(value, "values", (value,)))
            dtypes = set().union(*(casts.get(handle, ()) for handle in handles))
            if len(dtypes) == 1 and (dtype := dtypes.pop()) not in (None, value.dtype):
                replaced.append((variable, value))
                variable._value = tf.Variable(
                    tf.cast(value, dtype), trainable=False, name=variable.path
                )
        yield bool(replaced)
    finally:
        for variable, value in replaced:
            variable._value = value


def _dtypes_read(
    function: tf.types.experimental.ConcreteFunction,
) -> Mapping[int, set[tf.DType | None]]:
    """By id of a captured handle, the dtypes it is cast to; None is any other use."""
    return {
        id(outside): {dtype for use in inside.consumers() for dtype in _dtypes_of(use, inside)}
        for outside, inside in function.graph.captures
        if inside.dtype == tf.resource
    }


def _dtypes_of(use: tf.Operation, tensor: tf.Tensor) -> set[tf.DType | None]:
    """Return what becomes of a tensor in one operation, through reads and look-ups."""
    if use.type == _CAST:
        return {use.outputs[0].dtype}
    is_table = use.type in _GATHER and use.inputs[0] is tensor
    if use.type in _READ or is_table:
        (output,) = use.outputs
        is_returned = any(output is one for one in output.graph.outputs)
        found = {dtype for one in output.consumers() for dtype in _dtypes_of(one, output)}
        return found | {None} if is_returned else found
    return {None}
