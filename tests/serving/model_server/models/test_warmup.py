"""Warm-up as the server does it: files on disk, loaded by a ServerCore."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from serving.client import PredictClient
from serving.errors import Code, StatusError
from serving.model_server.core import ServerCore
from serving.model_server.management.config import single_model_config
from serving.model_server.server import ModelServer, ServerOptions
from serving.warmup import WARMUP_FILE
from tests.serving.models import CLASSIFY, REGRESS, example, fill_input, save_half_plus


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "m" / "1"
    save_half_plus(folder, 2.0)
    return folder


def _write(folder, *records):
    (folder / WARMUP_FILE).parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / WARMUP_FILE)) as writer:
        for record in records:
            writer.write(record if isinstance(record, bytes) else record.SerializeToString())


def _load(folder, **options):
    """The error of version 1, or how many session runs have parsed examples."""
    core = ServerCore(ServerOptions(max_num_load_retries=0, **options))
    try:
        core.reload_config(single_model_config("m", str(folder.parent)))
        core.manager.wait_until_ready(["m"], timeout=60)
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "m"
        request.model_spec.signature_name = "runs"
        request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.float32([0])))
        return core.predict(request).outputs["runs"].int64_val[0]
    except StatusError:
        ((_, _, cause),) = core.manager.statuses("m")
        return cause
    finally:
        core.stop()


def _log(kind, signature="", *examples):
    log = prediction_log_pb2.PredictionLog()
    request = getattr(log, f"{kind}_log").request
    request.model_spec.name = "m"
    request.model_spec.signature_name = signature
    fill_input(request.input, *(examples or [example(x=1.0)]))
    return log


def _predict(signature, **inputs):
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name = "m"
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return log


def _multi_inference(*tasks):
    log = prediction_log_pb2.PredictionLog()
    request = log.multi_inference_log.request
    for signature, method in tasks:
        task = request.tasks.add(method_name=method)
        task.model_spec.name = "m"
        task.model_spec.signature_name = signature
    fill_input(request.input, example(x=1.0))
    return log


KINDS = {
    "predict": _predict("regress_x_to_y", inputs=[example(x=1.0).SerializeToString()]),
    "classify": _log("classify", "classify_both"),
    "regress": _log("regress", "regress_x_to_y"),
    "multi_inference": _multi_inference(("regress_x_to_y", REGRESS), ("classify_both", CLASSIFY)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_record_is_run(folder, kind):
    _write(folder, KINDS[kind])
    assert _load(folder) == 1


def test_records_are_run_in_turn_and_repeated(folder):
    _write(folder, *KINDS.values())
    assert _load(folder, num_request_iterations_for_warmup=3) == 12
    assert _load(folder, num_request_iterations_for_warmup=0) == 4
    assert _load(folder, enable_model_warmup=False) == 0


def test_no_file(folder):
    assert _load(folder) == 0


def test_a_record_without_a_request_is_passed_over(folder):
    _write(folder, prediction_log_pb2.PredictionLog(), KINDS["regress"])
    assert _load(folder) == 1


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (
            _predict("nope"),
            'FAILED_PRECONDITION: Serving signature key "nope" not found.',
        ),
        (
            _log("classify", "nope"),
            "INVALID_ARGUMENT: No signature was found with the name: nope",
        ),
        (_log("regress", "regress_two"), "INVALID_ARGUMENT: Expected one output Tensor."),
        (
            _multi_inference(),
            "INVALID_ARGUMENT: Must specify at least one target to fetch or execute.",
        ),
        (
            _multi_inference(("nope", REGRESS)),
            "INVALID_ARGUMENT: Requested signature not found in model graph: nope",
        ),
    ],
)
def test_a_record_that_fails_fails_the_load(folder, record, text):
    _write(folder, KINDS["regress"], record)
    assert _load(folder).text == text


@pytest.mark.parametrize(("kind", "number"), [("session_run", 5), ("predict_streamed", 7)])
def test_records_of_another_kind(folder, kind, number):
    log = prediction_log_pb2.PredictionLog()
    getattr(log, f"{kind}_log").SetInParent()
    _write(folder, log)
    assert _load(folder).text == f"UNIMPLEMENTED: Unsupported log_type for warmup: {number}"


def test_method_names_are_checked_if_the_option_says_so(folder):
    _write(folder, _log("regress", "classify_x_to_y"))
    assert _load(folder, enable_signature_method_name_check=True).text == (
        "INVALID_ARGUMENT: Expected regression signature method_name to be "
        "tensorflow/serving/regress. Was: tensorflow/serving/classify"
    )


def test_a_thousand_records_and_one_more(folder):
    _write(folder, *[KINDS["regress"]] * 1000)
    assert _load(folder) == 1000
    _write(folder, *[KINDS["regress"]] * 1001)
    assert _load(folder).text == (
        "INVALID_ARGUMENT: Number of warmup records exceeds the maximum (1000) at "
        f"{folder / WARMUP_FILE}"
    )


def test_a_record_that_is_no_log(folder):
    _write(folder, b"\xff\xff")
    assert _load(folder).text == (
        f"INVALID_ARGUMENT: Failed to parse warmup record: \ufffd\ufffd from {folder / WARMUP_FILE}"
    )


def test_a_file_that_is_no_tfrecord(folder):
    _write(folder)
    (folder / WARMUP_FILE).write_bytes(b"this is not a TFRecord, whatever its name")
    error = _load(folder)
    assert error.code == Code.DATA_LOSS
    assert error.message.startswith("corrupted record at 0")
    assert error.message.endswith(". Please verify your warmup data is in TFRecord format.")


def _options(folder, **options):
    return ServerOptions(
        port=None,
        rest_api_port=0,
        model_name="m",
        model_base_path=str(folder.parent),
        max_num_load_retries=0,
        **options,
    )


@pytest.mark.parametrize(
    ("options", "runs"),
    [
        ({}, 4),
        ({"num_request_iterations_for_warmup": 2}, 8),
        ({"enable_batching": True}, 4),
        ({"enable_model_warmup": False}, 0),
    ],
)
def test_a_server_answers_after_all_records(folder, options, runs):
    _write(folder, *KINDS.values())
    with (
        ModelServer(_options(folder, **options)) as server,
        PredictClient(f"127.0.0.1:{server.grpc_port}") as client,
    ):
        # No rows, because a batch could not be divided: there is one count for all of them.
        assert client.predict("m", {"x": np.zeros(0, np.float32)}, "runs")["runs"] == runs


def test_a_server_does_not_start_on_a_record_that_fails(folder):
    _write(folder, KINDS["regress"], _predict("nope"))
    with pytest.raises(StatusError) as caught, ModelServer(_options(folder)):
        pass
    assert caught.value.text == (
        "UNKNOWN: 1 model(s) did not become available: {{{name: m version: 1} due to error: "
        'FAILED_PRECONDITION: Serving signature key "nope" not found.}, }'
    )


def test_a_file_that_was_cut(folder):
    _write(folder, KINDS["regress"], KINDS["regress"])
    path = folder / WARMUP_FILE
    path.write_bytes(path.read_bytes()[:-6])
    error = _load(folder)
    assert error.code == Code.DATA_LOSS
    assert "truncated record at" in error.message
