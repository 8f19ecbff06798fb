import base64
import concurrent.futures
import contextlib
import gzip
import io
import json
import threading
import time

import grpc
import numpy as np
import pytest
from PIL import Image
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.client import PredictClient
from serving.errors import Code, StatusError
from serving.model_server.limits import BodyTooLarge, ConcurrencyLimit, unzip
from serving.model_server.server import ModelServer, ServerOptions
from tests.serving.sockets import chunked, connect, exchange, post, read_response

pytestmark = pytest.mark.timing

PREDICT = "/v1/models/limited:predict"
MAX_BYTES = 1 << 20
BODY = b'{"instances": [1.0]}'
TOO_LARGE = {
    "error": f"The request body is larger than {MAX_BYTES} bytes (rest_api_max_request_bytes)."
}


@pytest.fixture(scope="module")
def limited(arithmetic):
    """A server with low limits."""
    options = ServerOptions(
        port=None,
        rest_api_port=None,
        model_name="limited",
        model_base_path=str(arithmetic),
        rest_api_max_request_bytes=MAX_BYTES,
        max_request_bytes=MAX_BYTES,
        rest_api_timeout_in_ms=1000,
        rest_api_read_timeout_in_ms=1000,
        # A place may be free a moment after its answer came: two askers at a time need more.
        max_concurrent_requests=4,
        max_image_pixels=10_000,
        # The slow requests of these tests leave some for the others.
        rest_api_num_threads=8,
    )
    with ModelServer(options) as server:
        yield server


@pytest.fixture
def others_are_answered(limited):
    """Checks, while the block runs and after it, that others are answered over REST and gRPC."""

    @contextlib.contextmanager
    def check():
        def ask():
            with PredictClient(f"127.0.0.1:{limited.grpc_port}") as client:
                while True:
                    assert client.predict("limited", {"x": [1.0]})["y"] == [3.5]
                    answer = exchange(limited.rest_port, post(PREDICT, BODY), "POST")
                    assert json.loads(answer[2]) == {"predictions": [3.5]}
                    counts.append(1)
                    if ended.is_set():
                        return

        counts, ended = [], threading.Event()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            asking = pool.submit(ask)
            try:
                yield
            finally:
                ended.set()
            asking.result(30)
        assert counts

    return check


def _status(caught):
    return caught.value.code, caught.value.message


@pytest.mark.parametrize(
    "request_bytes",
    [
        post(PREDICT, b" " * (MAX_BYTES + 1)),
        chunked(PREDICT, [b" " * (1 << 16)] * 17),
        post(PREDICT, gzip.compress(b" " * (MAX_BYTES + 1)), "Content-Encoding: gzip"),
    ],
    ids=["plain", "chunked", "gzip"],
)
def test_rest_body_above_the_limit(limited, others_are_answered, request_bytes):
    with others_are_answered(), connect(limited.rest_port) as connection:
        connection.sendall(request_bytes)
        status, headers, body = read_response(connection, "POST")
        assert (status, headers["Content-Type"]) == (413, "application/json")
        assert json.loads(body) == TOO_LARGE
        # The rest of the body was skipped, the connection is as good as before.
        connection.sendall(post(PREDICT, BODY))
        assert json.loads(read_response(connection, "POST")[2]) == {"predictions": [3.5]}


def test_rest_body_of_the_very_limit(limited):
    body = BODY + b" " * (MAX_BYTES - len(BODY))
    for request in (
        post(PREDICT, body),
        chunked(PREDICT, [body]),
        post(PREDICT, gzip.compress(body), "Content-Encoding: gzip"),
    ):
        assert exchange(limited.rest_port, request, "POST")[0] == 200


def test_decompression_bomb(limited, others_are_answered):
    # 1 GiB of zeros in 1 MB, in two layers: only the outer one is undone.
    bomb = gzip.compress(bytes(1 << 28), 9)
    assert len(bomb) < MAX_BYTES
    request = post(PREDICT, bomb, "Content-Encoding: gzip")
    with others_are_answered():
        status, _, body = exchange(limited.rest_port, request, "POST")
    assert (status, json.loads(body)) == (413, TOO_LARGE)


def test_unzip_stops_at_the_limit():
    body = gzip.compress(b"x" * 1000) + gzip.compress(b"y" * 1000)
    assert unzip(body, 2000) == unzip(body, 0) == b"x" * 1000 + b"y" * 1000
    for limit in (999, 1000, 1999):
        with pytest.raises(BodyTooLarge):
            unzip(body, limit)


def test_half_a_request_is_given_up(limited, others_are_answered):
    halves = (b"POST /v1/mod", post(PREDICT, BODY)[:-3], b"POST / HTTP/1.1\r\nA: b\r\n")
    with others_are_answered(), contextlib.ExitStack() as stack:
        start = time.monotonic()
        silent = stack.enter_context(connect(limited.rest_port))
        connections = [stack.enter_context(connect(limited.rest_port)) for _ in halves]
        for connection, data in zip(connections, halves):
            connection.sendall(data)
        for connection in connections:
            assert read_response(connection)[0] == 408
            assert connection.recv(1) == b""
            assert time.monotonic() - start >= 1.0
        assert silent.recv(1) == b""


def test_a_head_that_drips_is_given_up(limited):
    with connect(limited.rest_port) as connection:
        connection.sendall(b"GET /v1/models/m HTTP/1.1\r\n")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while True:
                connection.sendall(b"X-A: b\r\n")
                time.sleep(0.05)


def test_a_slow_body_may_take_its_time(limited):
    request = post(PREDICT, BODY)
    with connect(limited.rest_port) as connection:
        # Longer than the limit in all, and never longer than it for a piece.
        connection.sendall(request[:-12])
        for i in range(len(request) - 12, len(request)):
            time.sleep(0.1)
            connection.sendall(request[i : i + 1])
        assert read_response(connection, "POST")[0] == 200


def test_rest_timeout(limited, others_are_answered):
    body = b'{"signature_name": "slow", "inputs": 2.5}'
    with others_are_answered():
        status, _, answer = exchange(limited.rest_port, post(PREDICT, body), "POST")
    assert (status, json.loads(answer)) == (504, {"error": "Timed out waiting for notification"})


def test_grpc_message_above_the_limit(limited, others_are_answered):
    with others_are_answered(), PredictClient(f"127.0.0.1:{limited.grpc_port}") as client:
        with pytest.raises(StatusError) as caught:
            client.predict("limited", {"x": np.zeros(MAX_BYTES // 4 + 10, np.float32)})
        assert caught.value.code == Code.RESOURCE_EXHAUSTED
        client.predict("limited", {"x": np.zeros(MAX_BYTES // 4 - 100, np.float32)})


def test_shape_that_claims_more_than_there_is(limited, others_are_answered):
    with (
        others_are_answered(),
        grpc.insecure_channel(f"127.0.0.1:{limited.grpc_port}") as channel,
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "limited"
        proto = request.inputs["x"]
        proto.dtype = 1
        proto.tensor_content = b"\0" * 8
        proto.tensor_shape.dim.add(size=1 << 40)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Predict(request)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        proto.ClearField("tensor_content")
        proto.float_val.append(1)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Predict(request)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def _refused_image(limited, image):
    """Status of a prediction on `image`, the same over gRPC and REST."""
    with (
        PredictClient(f"127.0.0.1:{limited.grpc_port}") as client,
        pytest.raises(StatusError) as caught,
    ):
        client.predict("limited", {"s": [b"text", image]}, "text")
    document = {
        "signature_name": "text",
        "instances": ["text", {"b64": base64.b64encode(image).decode()}],
    }
    status, _, body = exchange(limited.rest_port, post(PREDICT, json.dumps(document).encode()))
    assert (status, json.loads(body)) == (400, {"error": caught.value.message})
    return _status(caught)


def test_large_image(limited, others_are_answered):
    # 60,000 x 60,000 pixels, by its header.
    png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (60_000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    with others_are_answered():
        assert _refused_image(limited, png) == (
            Code.INVALID_ARGUMENT,
            'Item 1 of input "s" is an image of 3600000000 pixels or more; this server decodes at '
            "most 10000 (max_image_pixels).",
        )


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    """A server of a model that decodes images, with the limits that are the default."""
    import tensorflow as tf

    class Decoder(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])
        def decode(self, image_bytes):
            def shape(data):
                return tf.shape(tf.io.decode_image(data, 3, expand_animations=False))

            return {"shape": tf.map_fn(shape, image_bytes, fn_output_signature=tf.int32)}

    base = tmp_path_factory.mktemp("decoder")
    module = Decoder()
    tf.saved_model.save(module, str(base / "1"), {"serving_default": module.decode})
    options = ServerOptions(
        port=None, rest_api_port=None, model_name="decoder", model_base_path=str(base)
    )
    with ModelServer(options) as server:
        yield server


def _image(width, height):
    buffer = io.BytesIO()
    Image.new("1", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def test_images_that_cannot_be_decoded(decoder):
    good = _image(7, 5)
    with PredictClient(f"127.0.0.1:{decoder.grpc_port}") as client:
        for bad in (b"", b"no image", good[:30], good[:8] + b"\0" * 40, b"\xff\xd8\xff\xe0"):
            with pytest.raises(StatusError) as caught:
                client.predict("decoder", {"image_bytes": [good, bad]})
            assert caught.value.code == Code.INVALID_ARGUMENT
            answer = client.predict("decoder", {"image_bytes": [good]})
            assert answer["shape"].tolist() == [[5, 7, 3]]


def test_decompression_bomb_among_images(decoder):
    # 13 KB that would become 300 MB.
    bomb = _image(10_000, 10_000)
    assert len(bomb) < 20_000
    with PredictClient(f"127.0.0.1:{decoder.grpc_port}") as client:
        with pytest.raises(StatusError, match="at most 67108864") as caught:
            client.predict("decoder", {"image_bytes": [bomb]})
        assert caught.value.code == Code.INVALID_ARGUMENT
        answer = client.predict("decoder", {"image_bytes": [_image(2000, 1000)]})
        assert answer["shape"].tolist() == [[1000, 2000, 3]]


def test_more_requests_than_may_run_are_refused_at_once(limited):
    text = "The server is answering 4 requests already (max_concurrent_requests). Try again later."
    with (
        PredictClient(f"127.0.0.1:{limited.grpc_port}") as client,
        concurrent.futures.ThreadPoolExecutor(4) as pool,
    ):

        def slow():
            while True:
                try:
                    return client.predict("limited", {"seconds": 3.0}, "slow")["seconds"]
                except StatusError as error:
                    # One of the questions below had its place.
                    assert error.code == Code.RESOURCE_EXHAUSTED

        running = [pool.submit(slow) for _ in range(4)]
        # Until all have begun.
        while exchange(limited.rest_port, post(PREDICT, BODY), "POST")[0] == 200:
            assert not running[0].done()
        status, _, body = exchange(limited.rest_port, post(PREDICT, BODY), "POST")
        assert (status, json.loads(body)) == (429, {"error": text})
        with pytest.raises(StatusError) as caught:
            client.predict("limited", {"x": [1.0]})
        assert _status(caught) == (Code.RESOURCE_EXHAUSTED, text)
        # What is no prediction is answered.
        assert client.model_status("limited")[0].state == "AVAILABLE"
        get = b"GET /v1/models/limited HTTP/1.1\r\nHost: x\r\n\r\n"
        assert exchange(limited.rest_port, get)[0] == 200
        assert not any(future.done() for future in running)
        assert all(future.result() >= 3.0 for future in running)
        # All have left.
        assert client.predict("limited", {"x": [1.0]})["y"] == [3.5]
        assert exchange(limited.rest_port, post(PREDICT, BODY), "POST")[0] == 200


def test_whoever_leaves_makes_room():
    limit = ConcurrencyLimit(1)
    limit.enter()
    with pytest.raises(StatusError):
        limit.enter()
    limit.leave()
    limit.enter()


def test_no_limit():
    limit = ConcurrencyLimit()
    for _ in range(1000):
        limit.enter()
