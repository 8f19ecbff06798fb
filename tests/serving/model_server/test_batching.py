"""Batching as clients see it: real sockets, gRPC and REST, the parameters in a file."""

import json
import threading

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    inference_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.model_server.server import ModelServer, ServerOptions
from tests.serving.models import CLASSIFY, REGRESS, example, fill_input, save_batching_module
from tests.serving.sockets import exchange, post
from tests.serving.waiting import wait_until

pytestmark = pytest.mark.timing

# Nobody waits so long: a batch that is not filled shows itself in the answers.
FILLED = "batch_timeout_micros { value: 10000000 }"
ONE_AT_A_TIME = (
    "max_batch_size { value: 1 } max_enqueued_batches { value: 1 } num_batch_threads { value: 1 }"
)


class Client:
    """A stub whose requests all are under way at the same time."""

    def __init__(self, server: ModelServer):
        self.rest_port = server.rest_port
        self._channel = grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}")
        self.stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def send(self, signature, timeout=60, outputs=(), **inputs):
        """A future of the response."""
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "m"
        request.model_spec.signature_name = signature
        request.output_filter.extend(outputs)
        for key, value in inputs.items():
            request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
        return self.stub.Predict.future(request, timeout=timeout)

    def predict(self, signature, **inputs):
        """Outputs as arrays, by name."""
        return _arrays(self.send(signature, **inputs))

    def rest(self, body):
        """(status, what the body says)."""
        status, _, answer = exchange(
            self.rest_port, post("/v1/models/m:predict", json.dumps(body).encode()), "POST"
        )
        return status, json.loads(answer)

    def close(self):
        self._channel.close()


def _arrays(future):
    return {key: tf.make_ndarray(value) for key, value in future.result().outputs.items()}


def _status(future):
    """(code, text)."""
    return future.code().name, future.details()


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    base = tmp_path_factory.mktemp("batching")
    save_batching_module(base / "1")
    return base


@pytest.fixture
def serve(base, tmp_path):
    """(BatchingParameters as text, **options) -> a client of a ready server of the model `m`."""
    opened = []

    def serve(parameters, **options):
        path = tmp_path / "batching"
        path.write_text(parameters)
        defaults = {"model_name": "m", "model_base_path": str(base)}
        server = ModelServer(
            ServerOptions(
                port=None,
                rest_api_port=None,
                enable_batching=True,
                batching_parameters_file=str(path),
                **{**defaults, **options},
            )
        )
        opened.append(server)
        server.start()
        server.wait_until_ready(60)
        client = Client(server)
        opened.append(client)
        return client

    yield serve
    for item in reversed(opened):
        item.close() if isinstance(item, Client) else item.stop()


def _rows(*values):
    return np.array(values, np.float32)


def test_concurrent_requests_share_a_run_and_get_their_own_rows(serve):
    client = serve(f"max_batch_size {{ value: 6 }} {FILLED}")
    inputs = [_rows([1, 2]), _rows([3, 4], [5, 6]), _rows([7, 8], [9, 10], [11, 12])]
    results = [_arrays(future) for future in [client.send("", x=x) for x in inputs]]
    assert [result["sum"].tolist() for result in results] == [x.sum(1).tolist() for x in inputs]
    assert {rows for result in results for rows in result["rows"].tolist()} == {6}
    assert len({run for result in results for run in result["run"].tolist()}) == 1


def test_rest_and_grpc_share_a_run(serve):
    client = serve(f"max_batch_size {{ value: 3 }} {FILLED}")
    others = client.send("", x=_rows([1, 2], [3, 4]))
    status, answer = client.rest({"instances": [[5, 6]]})
    assert (status, answer["predictions"][0]["sum"], answer["predictions"][0]["rows"]) == (
        200,
        11.0,
        3,
    )
    assert _arrays(others)["rows"].tolist() == [3, 3]


def test_signatures_do_not_meet(serve):
    client = serve("max_batch_size { value: 2 } batch_timeout_micros { value: 300000 }")
    first = client.send("", x=_rows([1, 2]))
    second = client.send("checked", x=_rows(3))
    assert _arrays(first)["rows"].tolist() == [1]
    assert _arrays(second)["y"].tolist() == [6.0]


def test_a_bad_request_fails_alone_in_a_batch_of_others(serve):
    client = serve(f"max_batch_size {{ value: 8 }} num_batch_threads {{ value: 1 }} {FILLED}")
    futures = [client.send("checked", x=_rows(-1 if i == 3 else i + 1)) for i in range(8)]
    bad = futures.pop(3)
    assert [_arrays(future)["y"].tolist() for future in futures] == [
        [2.0 * (i + 1)] for i in range(8) if i != 3
    ]
    code, text = _status(bad)
    assert code == "INVALID_ARGUMENT"
    assert "x must be positive" in text


REFUSED = {
    "too many rows": (
        "checked",
        {"x": _rows(1, 2, 3)},
        "INVALID_ARGUMENT",
        "Task size 3 is larger than maximum input batch size 2",
    ),
    "first dimensions that differ": (
        "looked_up",
        {"key": ["a"], "v": _rows([1, 1], [2, 2])},
        "INVALID_ARGUMENT",
        "Batching Run() input tensors must have equal 0th-dimension size",
    ),
    "no first dimension": (
        "checked",
        {"x": np.float32(1)},
        "INVALID_ARGUMENT",
        "Batching Run() input tensors must have at least one dimension",
    ),
    "unknown signature": (
        "nope",
        {"x": _rows(1)},
        "FAILED_PRECONDITION",
        'Serving signature key "nope" not found.',
    ),
}


@pytest.fixture(scope="module")
def two_rows(base, tmp_path_factory):
    """A client of a server that takes two rows at most, and does not wait for others."""
    path = tmp_path_factory.mktemp("two_rows") / "batching"
    path.write_text("max_batch_size { value: 2 } batch_timeout_micros { value: 0 }")
    options = ServerOptions(
        port=None,
        rest_api_port=None,
        model_name="m",
        model_base_path=str(base),
        enable_batching=True,
        batching_parameters_file=str(path),
    )
    with ModelServer(options) as server:
        client = Client(server)
        yield client
        client.close()


@pytest.mark.parametrize("case", REFUSED)
def test_refused(two_rows, case):
    signature, inputs, code, text = REFUSED[case]
    assert _status(two_rows.send(signature, **inputs)) == (code, text)


def test_refused_over_rest(two_rows):
    assert two_rows.rest({"signature_name": "checked", "instances": [1, 2, 3]}) == (
        400,
        {"error": "Task size 3 is larger than maximum input batch size 2"},
    )


def test_a_type_that_is_wrong(two_rows):
    code, text = _status(two_rows.send("checked", x=[1]))
    assert code == "INVALID_ARGUMENT"
    assert "int32" in text


def test_an_output_without_rows(two_rows):
    assert _status(two_rows.send("fewer", x=_rows(1, 2))) == (
        "FAILED_PRECONDITION",
        "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes "
        "of the input tensors",
    )


def test_no_rows_strings_and_fewer_dimensions_than_the_placeholder(two_rows):
    assert two_rows.predict("checked", x=np.zeros(0, np.float32))["y"].shape == (0,)
    result = two_rows.predict("looked_up", key=["a", "c"], v=_rows([1, 1], [0, 2]))
    assert result["value"].tolist() == [10, -1]
    assert result["key"].tolist() == [b"a", b"c"]


def test_a_full_queue_answers_before_those_in_it(serve):
    client = serve(ONE_AT_A_TIME)
    client.predict("slow", seconds=_rows(0))
    ended, all_ended = [], threading.Event()

    def note(future):
        ended.append(future)
        if len(ended) == 6:
            all_ended.set()

    for _ in range(6):
        client.send("slow", seconds=_rows(2)).add_done_callback(note)
    assert all_ended.wait(60)
    codes = [future.code().name for future in ended]
    # One runs and one waits, or the first of them had not left the queue yet.
    accepted = codes.count("OK")
    assert 1 <= accepted <= 2
    assert codes == ["UNAVAILABLE"] * (6 - accepted) + ["OK"] * accepted
    assert {future.details() for future in ended if future.code().name != "OK"} == {
        "The batch scheduling queue to which this task was submitted is full; currently 1 batches "
        "enqueued and max_enqueued_batches is 1"
    }


def test_a_deadline_ends_the_wait_in_the_queue(serve):
    client = serve("max_batch_size { value: 1 } num_batch_threads { value: 1 }")

    def runs():
        # Some of the outputs: not batched, and so not behind the one that is slow.
        return int(client.predict("count", outputs=["runs"], x=_rows(0))["runs"][0])

    busy = client.send("slow", seconds=_rows(1.5))
    wait_until(runs)
    late = client.send("slow", timeout=0.3, seconds=_rows(0))
    assert _status(late) == ("DEADLINE_EXCEEDED", "Deadline Exceeded")
    assert not busy.done()
    # One that comes after it is run, so its turn has been; it was not computed.
    client.predict("slow", seconds=_rows(0))
    busy.result(timeout=60)
    assert runs() == 2


def test_parameters_of_one_model(serve, base, tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    version = folder / "1"
    version.mkdir()
    for item in (base / "1").iterdir():
        (version / item.name).symlink_to(item)
    (version / "batching_params.pbtxt").write_text("max_batch_size { value: 4 }")
    client = serve(
        "max_batch_size { value: 2 }",
        model_base_path=str(folder),
        enable_per_model_batching_parameters=True,
    )
    assert client.predict("checked", x=_rows(1, 2, 3, 4))["y"].tolist() == [2.0, 4.0, 6.0, 8.0]
    assert _status(client.send("checked", x=_rows(1, 2, 3, 4, 5))) == (
        "INVALID_ARGUMENT",
        "Task size 5 is larger than maximum input batch size 4",
    )


def test_regressions_of_tensorflow_1_share_a_run(serve, half_plus_two):
    client = serve(f"max_batch_size {{ value: 3 }} {FILLED}", model_base_path=str(half_plus_two))

    def request(*values):
        request = regression_pb2.RegressionRequest()
        request.model_spec.name = "m"
        request.model_spec.signature_name = "regress_x_to_y"
        fill_input(request.input, *(example(x=value) for value in values))
        return request

    futures = [client.stub.Regress.future(request(*values)) for values in ((2.0,), (4.0, 6.0))]
    assert [[r.value for r in f.result().result.regressions] for f in futures] == [
        [3.0],
        [4.0, 5.0],
    ]
    assert client.predict("serving_default", x=_rows(2, 4, 6))["y"].tolist() == [3.0, 4.0, 5.0]

    # The outputs of several signatures: no queue is for those, and nobody is waited for.
    both = inference_pb2.MultiInferenceRequest()
    for signature, method in (("regress_x_to_y2", REGRESS), ("classify_classes", CLASSIFY)):
        task = both.tasks.add(method_name=method)
        task.model_spec.name = "m"
        task.model_spec.signature_name = signature
    fill_input(both.input, example(x=2.0, name="a"))
    first, second = client.stub.MultiInference(both, timeout=5).results
    assert [r.value for r in first.regression_result.regressions] == [4.0]
    assert second.classification_result.classifications[0].classes[1].label == "a-high"
