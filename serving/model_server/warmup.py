"""Replays the warm-up records of a version before it goes live."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving.errors import Code, StatusError
from serving.model_server.predict import run_predict
from serving.model_server.saved_model import SavedModel, status_of
from serving.warmup import MAX_RECORDS, WARMUP_FILE


def replay_warmup(model: SavedModel, version: int, folder: Path, iterations: int = 1) -> int:
    """Runs each record of the version's warm-up file `iterations` times; returns the record count.

    No file is fine.

    Raises:
        StatusError: the first record that fails, a record of another kind than Predict, more than
            1000 records, or a file that is no TFRecord.
    """
    path = folder / WARMUP_FILE
    if not path.exists():
        return 0
    count = 0
    try:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            count += 1
            if count > MAX_RECORDS:
                raise StatusError(
                    Code.INVALID_ARGUMENT,
                    f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {path}",
                )
            log = prediction_log_pb2.PredictionLog.FromString(record)
            if log.WhichOneof("log_type") != "predict_log":
                field = log.ListFields()[0][0].number if log.ListFields() else 0
                raise StatusError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {field}")
            for _ in range(iterations):
                run_predict(model, version, log.predict_log.request)
    except tf.errors.DataLossError as error:
        status = status_of(error)
        raise StatusError(
            status.code,
            f"{status.message}. Please verify your warmup data is in TFRecord format.",
        ) from error
    return count
