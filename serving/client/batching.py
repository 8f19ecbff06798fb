"""Large inputs in several requests: splitting the rows, joining the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from serving import arguments
from serving.errors import ServingError, StatusError

Answer = dict[str, np.ndarray]


@dataclass(frozen=True)
class Chunk:
    """The inputs of rows [start:stop]."""

    start: int
    stop: int
    inputs: Mapping[str, np.ndarray]

    def __str__(self) -> str:
        return f"[{self.start}:{self.stop}]"


def split(arrays: Mapping[str, np.ndarray], max_batch_size: int, concurrency: int) -> list[Chunk]:
    """Cuts inputs along dimension 0; scalars go with every chunk.

    Raises:
        ServingError: inputs that differ in dimension 0, or a number below 1.
    """
    max_batch_size = arguments.whole_number("max_batch_size", max_batch_size)
    arguments.whole_number("concurrency", concurrency)
    rows = {array.shape[0] for array in arrays.values() if array.ndim}
    if len(rows) != 1:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())
        raise ServingError(
            "Inputs are cut along their first dimension, which must be the same for all. "
            f"Received: {shapes or 'none'}. Leave max_batch_size out to send them in one request."
        )
    (count,) = rows
    # Inputs without rows are one request, whose answer has the shapes and types of outputs.
    return [
        Chunk(
            start,
            min(start + max_batch_size, count),
            {
                name: array[start : start + max_batch_size] if array.ndim else array
                for name, array in arrays.items()
            },
        )
        for start in range(0, max(count, 1), max_batch_size)
    ]


def join(chunks: Sequence[Chunk], answers: Sequence[Answer]) -> Answer:
    """Concatenates the outputs of all chunks along dimension 0.

    Raises:
        ServingError: an output that has not one row for each row of the inputs.
    """
    for chunk, answer in zip(chunks, answers, strict=True):
        for name, array in answer.items():
            if array.shape[:1] != (chunk.stop - chunk.start,):
                raise ServingError(
                    f"Output {name} has shape {list(array.shape)} for rows {chunk}: without one "
                    "row for each of them it cannot be joined. Leave it out by output_filter, or "
                    "leave out max_batch_size."
                )
    return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}


def failure(chunks: Sequence[Chunk], failed: Sequence[tuple[Chunk, ServingError]]) -> ServingError:
    """One error for all that failed: names their rows, and has the code of the first."""
    failed = sorted(failed, key=lambda item: item[0].start)
    texts = "; ".join(f"rows {chunk}: {error}" for chunk, error in failed)
    message = f"Of {chunks[-1].stop} rows failed {texts}"
    first = failed[0][1]
    if isinstance(first, StatusError):
        return StatusError(first.code, message)
    return ServingError(message)
