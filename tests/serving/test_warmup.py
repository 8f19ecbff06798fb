import shutil

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving.errors import Code, ServingError, StatusError
from serving.model_server.core import ServerCore
from serving.model_server.management.config import single_model_config
from serving.model_server.options import ServerOptions
from serving.warmup import WARMUP_FILE, write_warmup


@pytest.fixture
def base(arithmetic, tmp_path):
    shutil.copytree(arithmetic / "1", tmp_path / "m" / "1")
    return tmp_path / "m"


def _load(base, **options):
    """The error of version 1, or None if it is served."""
    core = ServerCore(ServerOptions(max_num_load_retries=0, **options))
    try:
        core.reload_config(single_model_config("m", str(base)))
        core.manager.wait_until_ready(["m"], timeout=60)
    except StatusError as error:
        assert error.code == Code.UNKNOWN
        ((_, _, cause),) = core.manager.statuses("m")
        assert f"{{{{name: m version: 1}} due to error: {cause.text}}}, }}" in error.message
        return cause
    finally:
        core.stop()
    return None


def test_records_are_prediction_logs(base):
    requests = [("serving_default", {"x": np.ones(2, np.float32)}), ("text", {"s": ["a"]})]
    write_warmup(base / "1", requests, "m")
    records = list(tf.data.TFRecordDataset(str(base / "1" / WARMUP_FILE)).as_numpy_iterator())
    first, second = (
        prediction_log_pb2.PredictionLog.FromString(r).predict_log.request for r in records
    )
    assert (first.model_spec.name, first.model_spec.signature_name) == ("m", "serving_default")
    np.testing.assert_array_equal(tf.make_ndarray(first.inputs["x"]), [1, 1])
    assert second.inputs["s"].string_val == [b"a"]
    assert _load(base) is None


def test_a_record_that_fails_fails_the_load(base):
    good = ("serving_default", {"x": [1.0]})
    write_warmup(base / "1", [good, ("positive", {"x": [-1.0]})], "m")
    error = _load(base)
    assert error.code == Code.INVALID_ARGUMENT
    assert "x must be positive" in error.message
    assert _load(base, enable_model_warmup=False) is None


def test_unknown_signature_in_a_record(base):
    write_warmup(base / "1", [("nothing", {})], "m")
    assert _load(base).text == 'FAILED_PRECONDITION: Serving signature key "nothing" not found.'


def _write(base, records):
    (base / "1" / WARMUP_FILE).parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(base / "1" / WARMUP_FILE)) as writer:
        for record in records:
            writer.write(record.SerializeToString())


def test_records_of_another_kind(base):
    log = prediction_log_pb2.PredictionLog()
    log.session_run_log.SetInParent()
    _write(base, [log])
    assert _load(base).text == "UNIMPLEMENTED: Unsupported log_type for warmup: 5"


def test_too_many_records(base):
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.model_spec.name = "m"
    tensor = tf.make_tensor_proto([1.0])
    log.predict_log.request.inputs["x"].CopyFrom(tensor)
    _write(base, [log] * 1001)
    assert _load(base).message == (
        f"Number of warmup records exceeds the maximum (1000) at {base / '1' / WARMUP_FILE}"
    )
    with pytest.raises(ServingError, match=r"at most 1000 .* Received: 1001"):
        write_warmup(base / "1", [("serving_default", {"x": [1.0]})] * 1001, "m")


def test_file_that_is_no_tfrecord(base):
    _write(base, [])
    (base / "1" / WARMUP_FILE).write_bytes(b"this is not a TFRecord, whatever its name")
    error = _load(base)
    assert error.code == Code.DATA_LOSS
    assert error.message.endswith(". Please verify your warmup data is in TFRecord format.")


def test_no_saved_model(tmp_path):
    with pytest.raises(ServingError, match="is not a SavedModel"):
        write_warmup(tmp_path, [], "m")
