"""BatchingParameters: the text proto of `--batching_parameters_file` and `batching_params.pbtxt`.

Fields as in tensorflow_serving/servables/tensorflow/session_bundle_config.proto, which the
tensorflow-serving-api package does not ship; defaults as in TensorFlow's SharedBatchScheduler.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from serving.descriptors import build_messages
from serving.errors import invalid
from serving.model_server.text_proto import read_text_proto

_message_class = build_messages(
    "tensorflow.serving",
    {
        # google/protobuf/wrappers.proto: in the text format only the field's name matters.
        "Int64Value": {"value": (1, "int64")},
        "StringValue": {"value": (1, "string")},
        "BoolValue": {"value": (1, "bool")},
        "BatchingParameters": {
            "max_batch_size": (1, "Int64Value"),
            "batch_timeout_micros": (2, "Int64Value"),
            "max_enqueued_batches": (3, "Int64Value"),
            "num_batch_threads": (4, "Int64Value"),
            "thread_pool_name": (5, "StringValue"),
            "allowed_batch_sizes": (6, "int64*"),
            "pad_variable_length_inputs": (7, "bool"),
            "enable_large_batch_splitting": (8, "BoolValue"),
            "max_execution_batch_size": (9, "Int64Value"),
        },
    },
)
_THREAD_POOL = ("num_batch_threads", "thread_pool_name")
# Beside a SavedModel: parameters of its own.
BATCHING_FILE = "batching_params.pbtxt"


def _cpus() -> int:
    return os.cpu_count() or 1


@dataclass(frozen=True)
class BatchingParameters:
    """How requests are put together into batches.

    Attributes:
        max_batch_size: rows of one request, and of one batch unless `max_execution_batch_size`.
        batch_timeout_micros: how long a batch that is not full waits for more.
        max_enqueued_batches: batches that may wait for a thread, in each queue.
        num_batch_threads: batches that run at the same time, over all models.
        thread_pool_name: label of the batching metrics.
        allowed_batch_sizes: batches are padded up to the next of these; empty: not at all.
        pad_variable_length_inputs: pads other dimensions too, so that requests may differ in them.
        enable_large_batch_splitting: requests above a batch's size are split, not refused.
        max_execution_batch_size: rows of one batch where requests are split; 0: `max_batch_size`.

    Raises:
        StatusError: INVALID_ARGUMENT, values that contradict each other or are out of range.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = field(default_factory=_cpus)
    thread_pool_name: str = "batch_threads"
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int = 0

    def __post_init__(self) -> None:
        if self.max_enqueued_batches == 0 and not self.enable_large_batch_splitting:
            # TensorFlow reads 0 as 1, for old files that rely on it.
            object.__setattr__(self, "max_enqueued_batches", 1)
        self._check_ranges()
        self._check_sizes()

    def _check_ranges(self) -> None:
        for name, value in (
            ("num_batch_threads", self.num_batch_threads),
            ("input_batch_size_limit", self.max_batch_size),
            ("max_enqueued_batches", self.max_enqueued_batches),
        ):
            if value < 1:
                raise invalid(f"{name} must be positive; was {value}")
        for name, value in (
            ("batch_timeout_micros", self.batch_timeout_micros),
            ("max_execution_batch_size", self.max_execution_batch_size),
        ):
            if value < 0:
                raise invalid(f"{name} must be non-negative; was {value}")

    def _check_sizes(self) -> None:
        ends = {self.max_batch_size}
        if self.enable_large_batch_splitting and self.max_execution_batch_size:
            if self.max_execution_batch_size > self.max_batch_size:
                raise invalid(
                    "When enable_large_batch_splitting is true, input_batch_size_limit must be "
                    "greater than or equal to max_execution_batch_size."
                )
            ends.add(self.max_execution_batch_size)
        sizes = self.allowed_batch_sizes
        if not sizes:
            return
        if sizes[-1] not in ends:
            raise invalid(
                "Last entry in allowed_batch_sizes must match max_batch_size; last entry was "
                f"{sizes[-1]}; expected {self.max_batch_size}"
            )
        if any(after <= before for before, after in zip((0, *sizes), sizes)):
            raise invalid("allowed_batch_sizes entries must be monotonically increasing")


def read_batching_parameters(
    path: str | Path, common: BatchingParameters | None = None
) -> BatchingParameters:
    """Parse the text proto BatchingParameters in `path`; what it leaves out has its default.

    Args:
        path: of the file.
        common: whose thread pool counts instead of that in the file, which is one model's.

    Raises:
        StatusError: no such file, not in that format, or values that cannot be.
    """
    proto = read_text_proto(path, _message_class("BatchingParameters")())
    given = {field.name: getattr(value, "value", value) for field, value in proto.ListFields()}
    given["allowed_batch_sizes"] = tuple(proto.allowed_batch_sizes)
    if common is not None:
        given |= {name: getattr(common, name) for name in _THREAD_POOL}
    return BatchingParameters(**given)
