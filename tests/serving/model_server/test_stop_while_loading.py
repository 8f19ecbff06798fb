"""SIGTERM while models are being loaded: real server processes, real loads that hang."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from serving.client import PredictClient
from serving.errors import StatusError
from serving.model_server.server import ModelServer, ServerOptions
from tests.ports import free_ports
from tests.serving.sockets import exchange, post
from tests.serving.waiting import wait_until

pytestmark = [pytest.mark.timing, pytest.mark.slow]

WARMUP = "assets.extra/tf_serving_warmup_requests"
# Far less than loading takes.
SECONDS = 8


def _warms_up_for_ever(folder):
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = "slow"
    request.inputs["seconds"].CopyFrom(tf.make_tensor_proto(120.0))
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.CopyFrom(request)
    (folder / WARMUP).parent.mkdir()
    with tf.io.TFRecordWriter(str(folder / WARMUP)) as writer:
        writer.write(log.SerializeToString())


def _cannot_be_read_to_the_end(folder):
    """As on a file system that hangs: nobody ever writes into the pipe."""
    (folder / "saved_model.pb").unlink()
    os.mkfifo(folder / "saved_model.pb")


@pytest.fixture
def base(arithmetic, tmp_path):
    shutil.copytree(arithmetic / "1", tmp_path / "m" / "1")
    return tmp_path / "m"


@contextlib.contextmanager
def _command(tmp_path, base, *flags):
    """The command as a process, and what it has said so far."""
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "serving.model_server.main", "--host=127.0.0.1",
                f"--port={free_ports(1)[0]}", "--model_name=m", f"--model_base_path={base}", *flags,
            ],
            stdout=log,
            stderr=log,
        )  # fmt: skip
    try:
        yield process, (tmp_path / "log").read_text
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("spoil", "threads"), [(_warms_up_for_ever, 0), (_cannot_be_read_to_the_end, 2)]
)
def test_sigterm_ends_the_command(base, tmp_path, spoil, threads):
    spoil(base / "1")
    with _command(tmp_path, base, f"--num_load_threads={threads}") as (process, log):
        wait_until(lambda: ": LOADING" in log(), 120)
        # Into the load.
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
        assert "Traceback" not in log()


def test_sigterm_while_a_new_version_is_loaded_beside_one_that_serves(base, tmp_path):
    with _command(tmp_path, base) as (process, log):
        wait_until(lambda: "Running gRPC" in log(), 120)
        shutil.copytree(base / "1", tmp_path / "2")
        _cannot_be_read_to_the_end(tmp_path / "2")
        (tmp_path / "2").rename(base / "2")
        wait_until(lambda: "version: 2}: LOADING" in log())
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0


def test_sigterm_while_tensorflow_is_imported(base, tmp_path):
    with _command(tmp_path, base) as (process, log):
        maps = Path(f"/proc/{process.pid}/maps")
        wait_until(lambda: "tensorflow" in maps.read_text())
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
        assert "LOADING" not in log()


def _options(base, **options):
    return ServerOptions(port=None, model_name="m", model_base_path=str(base), **options)


def test_in_a_process_of_others_the_load_is_left_behind(base):
    _warms_up_for_ever(base / "1")
    server = ModelServer(_options(base))
    server.start()
    manager = server._core.manager
    wait_until(lambda: [state.name for _, state, _ in manager.statuses("m")] == ["LOADING"])
    time.sleep(0.5)
    start = time.monotonic()
    assert not server.stop(grace=0)
    assert time.monotonic() - start < SECONDS


def test_a_request_that_outlasts_the_grace_is_left_behind(base, caplog):
    server = ModelServer(_options(base, rest_api_port=None))
    server.start()
    server.wait_until_ready()
    with PredictClient(f"127.0.0.1:{server.grpc_port}") as client:
        client.predict("m", {"x": [1.0]})  # connects
        errors = []
        answers = []

        def ask():
            try:
                client.predict("m", {"seconds": 12.0}, "slow")
            except StatusError as error:
                errors.append(error.code.name)

        def ask_rest():
            body = b'{"signature_name": "slow", "inputs": 12}'
            answers.append(exchange(server.rest_port, post("/v1/models/m:predict", body), "POST"))

        asking, asking_rest = threading.Thread(target=ask), threading.Thread(target=ask_rest)
        asking.start()
        asking_rest.start()
        time.sleep(0.5)
        start = time.monotonic()
        assert not server.stop(grace=0.5)
        assert time.monotonic() - start < SECONDS
        asking.join()
        asking_rest.join()
        assert errors
    [(status, _, body)] = answers
    assert (status, json.loads(body)) == (503, {"error": "The model server was stopped"})
    assert [record for record in caplog.records if record.exc_info] == []
