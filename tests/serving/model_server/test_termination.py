"""Clients and servers that are killed: a real server process, real clients, real signals."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tests.serving.waiting import wait_until

pytestmark = pytest.mark.timing

SERVER = """
import sys
from serving.model_server.server import ModelServer, ServerOptions
options = ServerOptions(
    port=None, rest_api_port=None, model_name="m", model_base_path=sys.argv[1], grpc_max_threads=4,
    file_system_poll_wait_seconds=0.05,
)
ModelServer(options).serve_forever(
    on_ready=lambda server: print(server.grpc_port, server.rest_port, flush=True)
)
"""

# Says when its request is on the way, and waits for the answer.
CLIENT = """
import sys
import grpc
channel = grpc.insecure_channel(sys.argv[1])
grpc.channel_ready_future(channel).result(10)
call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
answer = call.future(bytes.fromhex(sys.argv[2]), timeout=60)  # cancelled when it is forgotten
print("sent", flush=True)
sys.stdin.read()
"""


def _slow_request(seconds):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "m"
    request.model_spec.signature_name = "slow"
    request.inputs["seconds"].CopyFrom(tf.make_tensor_proto(float(seconds)))
    return request


def _status_request():
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "m"
    return request


class Server:
    def __init__(self, base):
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(base)], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.grpc_port, self.rest_port = map(int, self.process.stdout.readline().split())
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}")
        self.predict = prediction_service_pb2_grpc.PredictionServiceStub(self.channel).Predict
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def states(self):
        response = self.models.GetModelStatus(_status_request(), timeout=30)
        return {item.version: item.state for item in response.model_version_status}

    def threads(self):
        return len(list(Path(f"/proc/{self.process.pid}/task").iterdir()))

    def kill(self):
        self.channel.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture
def base(arithmetic, tmp_path):
    base = tmp_path / "m"
    base.mkdir()
    (base / "1").symlink_to(arithmetic / "1")
    return base


@pytest.fixture
def server(base):
    server = Server(base)
    yield server
    server.kill()


@pytest.mark.slow
def test_clients_killed_in_mid_request_leave_nothing_behind(server, base, arithmetic):
    # All threads that answer have been started, and all that TensorFlow makes on demand.
    for _ in range(2):
        for call in [server.predict.future(_slow_request(0.2), timeout=30) for _ in range(8)]:
            call.result()
        # Those that tell states are others.
        for call in [server.models.GetModelStatus.future(_status_request()) for _ in range(16)]:
            call.result()
    before = server.threads()
    clients = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                CLIENT,
                f"127.0.0.1:{server.grpc_port}",
                _slow_request(10).SerializeToString().hex(),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    try:
        for client in clients:
            assert client.stdout is not None
            assert client.stdout.readline() == "sent\n"
        time.sleep(0.5)
        # Their requests hold version 1, so that it cannot go yet.
        (base / "2").symlink_to(arithmetic / "2")
        wait_until(lambda: server.states() == {2: 30, 1: 40})
    finally:
        for client in clients:
            client.send_signal(signal.SIGKILL)
            client.wait()
    # Nobody holds version 1 any more, no thread is left over, and all that answer are free.
    wait_until(lambda: server.states() == {2: 30, 1: 50})
    wait_until(lambda: server.threads() <= before)
    calls = [server.predict.future(_slow_request(0.2), timeout=30) for _ in range(4)]
    assert [call.result().model_spec.version.value for call in calls] == [2] * 4
    wait_until(lambda: server.threads() <= before)


@pytest.mark.slow
def test_sigterm_lets_requests_of_both_interfaces_end(server):
    calls = [server.predict.future(_slow_request(2.0), timeout=30) for _ in range(3)]
    answers = []

    def rest():
        body = json.dumps({"signature_name": "slow", "inputs": {"seconds": 2.0}}).encode()
        url = f"http://127.0.0.1:{server.rest_port}/v1/models/m:predict"
        with urllib.request.urlopen(url, body, timeout=30) as response:
            answers.append(json.load(response)["outputs"])

    thread = threading.Thread(target=rest)
    thread.start()
    time.sleep(1)
    server.process.send_signal(signal.SIGTERM)
    assert all(call.result().outputs["seconds"].double_val[0] >= 2 for call in calls)
    thread.join()
    assert answers[0] >= 2
    assert server.process.wait(20) == 0
    for port in (server.grpc_port, server.rest_port):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 1).close()
