"""Replays the warm-up records of a version before it goes live.

The rules and texts are those of tensorflow_serving/servables/tensorflow/saved_model_warmup_util.cc.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.python.lib.io import _pywrap_record_io
from tensorflow_serving.apis import prediction_log_pb2

from serving.errors import Code, StatusError, invalid
from serving.model_server.inference.classify import CLASSIFY
from serving.model_server.inference.multi_inference import run_multi_inference
from serving.model_server.inference.predict import run_predict
from serving.model_server.inference.regress import REGRESS
from serving.model_server.models.model import Model
from serving.model_server.models.saved_model import status_of
from serving.model_server.monitoring.metrics import record_warmup
from serving.warmup import MAX_RECORDS, WARMUP_FILE

# Field of PredictionLog -> what runs its request.
_RUN: dict[str, Callable[..., Any]] = {
    "predict_log": run_predict,
    "classify_log": CLASSIFY.run,
    "regress_log": REGRESS.run,
    "multi_inference_log": run_multi_inference,
}


def replay_warmup(
    model: Model,
    version: int,
    folder: Path,
    iterations: int = 1,
    *,
    check_method_name: bool = False,
    check_wanted: Callable[[], None] = lambda: None,
) -> int:
    """Run each record of the version's warm-up file `iterations` times; returns the record count.

    No file is fine, and so is a record without a request.

    Args:
        model: what runs the records.
        version: number of its version.
        folder: of the version.
        iterations: how often each record is run.
        check_method_name: whether signatures must have been exported for their kind of inference.
        check_wanted: called before each run; raises StatusError if nobody wants the model now.

    Raises:
        StatusError: the first record that fails; UNIMPLEMENTED, one of another kind;
            INVALID_ARGUMENT, one that is no PredictionLog, or more than 1000; DATA_LOSS, a file
            that is no TFRecord.
    """
    path = folder / WARMUP_FILE
    if not path.exists():
        return 0
    count, start = 0, time.perf_counter()
    try:
        # tf.data would add the name of its own operator to the texts of errors.
        for record in _pywrap_record_io.RecordIterator(str(path), ""):
            log = _parse(record, path)
            for _ in range(iterations):
                check_wanted()
                _replay(model, version, log, check_method_name)
            count += 1
            if count > MAX_RECORDS:
                raise invalid(
                    f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {path}"
                )
    except tf.errors.DataLossError as error:
        status = status_of(error)
        record_warmup(folder, status.text, count, start)
        raise StatusError(
            status.code,
            f"{status.message}. Please verify your warmup data is in TFRecord format.",
        ) from error
    record_warmup(folder, "OK", count, start)
    return count


def _parse(record: bytes, path: Path) -> prediction_log_pb2.PredictionLog:
    try:
        return prediction_log_pb2.PredictionLog.FromString(record)
    except DecodeError as error:
        text = record.decode("utf-8", "replace")
        raise invalid(f"Failed to parse warmup record: {text} from {path}") from error


def _replay(
    model: Model, version: int, log: prediction_log_pb2.PredictionLog, check_method_name: bool
) -> None:
    kind = log.WhichOneof("log_type")
    if kind is None:
        return
    if kind not in _RUN:
        number = log.DESCRIPTOR.fields_by_name[kind].number
        raise StatusError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {number}")
    request = getattr(log, kind).request
    _RUN[kind](model, version, request, check_method_name=check_method_name)
