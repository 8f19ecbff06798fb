"""Warm-up records: requests that the model server replays before a version goes live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from serving import files, tensors
from serving.errors import DiskError, ServingError

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
MAX_RECORDS = 1000


def write_warmup(
    saved_model_dir: str | Path,
    requests: Sequence[tuple[str, Mapping[str, Any]]],
    model_name: str,
) -> None:
    """Write `assets.extra/tf_serving_warmup_requests` (TFRecord of PredictionLog).

    Args:
        saved_model_dir: the SavedModel that gets the file.
        requests: pairs of signature name and arrays by input name.
        model_name: name under which the model is served.

    Raises:
        DiskError: the file cannot be written.
        ServingError: no SavedModel there, or more than the 1000 records that a server replays.
    """
    folder = Path(saved_model_dir)
    if not (folder / "saved_model.pb").is_file():
        raise ServingError(f"{folder} is not a SavedModel: it has no saved_model.pb.")
    if len(requests) > MAX_RECORDS:
        raise ServingError(
            f"A model server replays at most {MAX_RECORDS} warm-up records. "
            f"Received: {len(requests)}."
        )
    import tensorflow as tf

    path = folder / WARMUP_FILE
    temporary = path.with_name(path.name + ".tmp")
    try:
        with files.naming_errors("written", path):
            path.parent.mkdir(exist_ok=True)
            with tf.io.TFRecordWriter(str(temporary)) as writer:
                for signature_name, inputs in requests:
                    writer.write(_record(model_name, signature_name, inputs))
            temporary.replace(path)
    except tf.errors.OpError as error:
        raise DiskError(f"{path} cannot be written: {error.message}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _record(model_name: str, signature_name: str, inputs: Mapping[str, Any]) -> bytes:
    from tensorflow_serving.apis import prediction_log_pb2

    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name = model_name
    request.model_spec.signature_name = signature_name
    for name, values in inputs.items():
        tensors.encode(tensors.as_array(values), request.inputs[name], typed_fields=False)
    return log.SerializeToString()
