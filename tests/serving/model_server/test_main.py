import contextlib
import logging
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from importlib import metadata
from pathlib import Path

import grpc
import pytest
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.model_server.flags import Flags
from serving.model_server.main import DEFAULTS, main
from tests.ports import free_ports

COMMAND = str(Path(sys.executable).with_name("vlsearch-model-server"))
USAGE = Flags(**DEFAULTS).usage("vlsearch-model-server")


@pytest.fixture(autouse=True)
def _log_level():
    """`main` sets it for the process, which here goes on with other tests."""
    logger = logging.getLogger("serving")
    level = logger.level
    yield
    logger.setLevel(level)


def _run(*arguments):
    return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, timeout=60)


def test_version():
    done = _run("--version", "--port=1")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(
        r"TensorFlow ModelServer: \S+\nTensorFlow Library: (\S+)\n", done.stdout
    ).group(1) == metadata.version("tensorflow")


def test_what_is_quick_does_not_import_tensorflow():
    code = (
        "import sys\n"
        "from serving.model_server.main import main\n"
        "for arguments in (['--version'], ['--help'], ['--model_base_path=relative']):\n"
        "    main(arguments)\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


def test_help_is_the_usage_and_no_success(capsys):
    assert main(["--port=1", "--help"]) == 255
    assert capsys.readouterr().out == USAGE
    # Reachable and without limits, as TensorFlow Serving.
    assert '--host="0.0.0.0" ' in USAGE
    for limit in ("max_image_pixels", "max_request_bytes", "max_concurrent_requests"):
        assert f"--{limit}=0 " in USAGE


def test_a_bad_value_ends_with_the_usage():
    done = _run("--port=x", "--model_base_path=/m")
    assert (done.returncode, done.stdout) == (255, USAGE)
    assert "Couldn't interpret value x for flag port.\n" in done.stderr


def test_an_unknown_argument_is_said_and_the_start_goes_on():
    done = _run("serve", "--enable_batchin", "--port=1")
    assert done.returncode == 255
    assert done.stdout == (
        f"unknown argument: serve\n{USAGE}"
        "Failed to start server. Error: INVALID_ARGUMENT: Both server_options.model_base_path and "
        "server_options.model_config_file are empty!\n"
    )


def test_broken_model_config(tmp_path):
    path = tmp_path / "models.config"
    path.write_text("model_config_list {\n  config { nmae: 'm' }\n}")
    done = _run(f"--model_config_file={path}")
    assert done.returncode == 255
    assert done.stdout == (
        f"Failed to start server. Error: INVALID_ARGUMENT: Invalid protobuf file: '{path}'\n"
    )
    assert "Error parsing text-format tensorflow.serving.ModelServerConfig: 2:12: " in done.stderr


@pytest.mark.parametrize(
    ("flag", "kind", "others"),
    [
        ("batching_parameters_file", "BatchingParameters", ["--enable_batching"]),
        ("monitoring_config_file", "MonitoringConfig", ["--rest_api_port=1"]),
        ("ssl_config_file", "SSLConfig", []),
    ],
)
def test_other_broken_files(tmp_path, capsys, caplog, flag, kind, others):
    path = tmp_path / "file"
    path.write_text("\nno_field: 1")
    arguments = [f"--port={free_ports(1)[0]}", "--model_base_path=/m", f"--{flag}={path}", *others]
    assert main(arguments) == 255
    assert capsys.readouterr().out == (
        f"Failed to start server. Error: INVALID_ARGUMENT: Invalid protobuf file: '{path}'\n"
    )
    assert f"Error parsing text-format tensorflow.serving.{kind}: 2:1: " in caplog.text


@pytest.mark.parametrize(
    ("models", "text"),
    [
        (
            ['name: "m" base_path: "/m" model_platform: "tensorflow"'] * 2,
            "Illegal to list model m multiple times in config list",
        ),
        (
            ['name: "m" base_path: "/m"'],
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
            "ModelServerConfig::model_platform, model name is m",
        ),
        (
            ['name: "m" base_path: "/m" model_platform: "torch"'],
            "Model m requests unsupported platform torch",
        ),
    ],
)
def test_lists_that_are_refused(tmp_path, capsys, models, text):
    path = tmp_path / "models.config"
    configs = "".join(f"config {{ {model} }}" for model in models)
    path.write_text(f"model_config_list {{ {configs} }}")
    assert main([f"--model_config_file={path}"]) == 255
    assert capsys.readouterr().out == f"Failed to start server. Error: INVALID_ARGUMENT: {text}\n"


def test_batch_sizes_that_contradict_each_other(tmp_path, capsys):
    path = tmp_path / "batching"
    path.write_text("max_batch_size { value: 8 } allowed_batch_sizes: [2, 4]")
    arguments = ["--model_base_path=/m", "--enable_batching", f"--batching_parameters_file={path}"]
    assert main(arguments) == 255
    assert capsys.readouterr().out == (
        "Failed to start server. Error: INVALID_ARGUMENT: Last entry in allowed_batch_sizes must "
        "match max_batch_size; last entry was 4; expected 8\n"
    )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["--port=0", "--model_base_path=/m"],
            "INVALID_ARGUMENT: At least one of server_options.grpc_port or "
            "server_options.grpc_socket_path must be set.",
        ),
        (
            ["--model_base_path=m", "--model_name=n"],
            "INVALID_ARGUMENT: Expected model n to have an absolute path or URI; got base_path()=m",
        ),
        (
            ["--model_base_path=/m", "--enable_batching", "--batching_parameters_file=/absent"],
            "NOT_FOUND: /absent; No such file or directory",
        ),
        (
            ["--model_base_path=/m", "--batching_parameters_file=/absent"],
            "INVALID_ARGUMENT: server_options.batching_parameters_file is set without setting "
            "server_options.enable_batching to true.",
        ),
        (
            ["--model_base_path=/m", "--use_alts_credentials", "--ssl_config_file=f"],
            "INVALID_ARGUMENT: Either use_alts_credentials must be false or ssl_config_file must "
            "be empty.",
        ),
        (
            [
                "--model_base_path=/m",
                "--tensorflow_session_parallelism=1",
                "--tensorflow_intra_op_parallelism=1",
                "--tensorflow_inter_op_parallelism=1",
            ],
            "INVALID_ARGUMENT: Either configure server_options.tensorflow_session_parallelism or "
            "(server_options.tensorflow_intra_op_parallelism, "
            "server_options.tensorflow_inter_op_parallelism) separately. You cannot configure all.",
        ),
        (
            ["--model_base_path=/m", "--port=-1"],
            "INVALID_ARGUMENT: server_options.port must be a TCP port, 0 to 65535; was -1",
        ),
        (
            ["--model_base_path=/m", "--rest_api_port=99999"],
            "INVALID_ARGUMENT: server_options.rest_api_port must be a TCP port, 0 to 65535; was "
            "99999",
        ),
    ],
)
def test_failures_to_start(arguments, text, capsys):
    assert main(arguments) == 255
    assert capsys.readouterr().out == f"Failed to start server. Error: {text}\n"


def test_port_in_use(capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert main(["--host=127.0.0.1", f"--port={port}", "--model_base_path=/m"]) == 255
    assert capsys.readouterr().out == (
        "Failed to start server. Error: INVALID_ARGUMENT: The gRPC port "
        f"127.0.0.1:{port} cannot be opened: Address already in use. Stop the process that holds "
        "it, or choose another port.\n"
    )


def test_model_that_cannot_be_loaded(tmp_path, capsys):
    (tmp_path / "1").mkdir()
    arguments = [f"--port={free_ports(1)[0]}", "--model_name=m", f"--model_base_path={tmp_path}"]
    retries = ["--max_num_load_retries=1", "--load_retry_interval_micros=1000"]
    assert main([*arguments, *retries]) == 255
    assert capsys.readouterr().out.startswith(
        "Failed to start server. Error: UNKNOWN: 1 model(s) did not become available: "
        "{{{name: m version: 1} due to error: "
    )


class _Server:
    """The command as a process, with its standard error in a file."""

    def __init__(self, folder, *arguments):
        self._log = folder / "stderr"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [COMMAND, *arguments], stdout=subprocess.PIPE, stderr=log, text=True, cwd=folder
            )

    def log(self):
        return self._log.read_text()

    def wait_for(self, text, count=1, seconds=120):
        deadline = time.monotonic() + seconds
        while self.log().count(text) < count:
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.timing
def test_a_life(arithmetic, tmp_path):
    """Waits for a version, opens its ports, serves, drains on SIGTERM and exits with 0."""
    base = tmp_path / "base"
    base.mkdir()
    port, rest_port = free_ports(2)
    server = _Server(
        tmp_path,
        "--host=127.0.0.1",
        f"--port={port}",
        f"--rest_api_port={rest_port}",
        "--grpc_socket_path=s",
        "--model_name=m",
        f"--model_base_path={base}",
        "--enable_grpc_healthcheck_service",
        "--skip_initialize_tpu",
        "surplus",
    )
    with contextlib.ExitStack() as stack:
        stack.callback(server.process.wait)
        stack.callback(server.process.kill)
        # Once a second.
        server.wait_for(
            f"No versions of servable m found under base path {base}. Did you forget to name your "
            "leaf directory as a number (eg. '/1/')?",
            count=3,
        )
        assert "--skip_initialize_tpu has no effect in this server." in server.log()
        for closed in (port, rest_port):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", closed), 1).close()
        (base / "1").symlink_to(arithmetic / "1")
        server.wait_for(f"Running gRPC ModelServer at 127.0.0.1:{port} ...")
        server.wait_for("Running gRPC ModelServer at UNIX socket s ...")
        server.wait_for(f"Exporting HTTP/REST API at:localhost:{rest_port} ...")
        with urllib.request.urlopen(f"http://127.0.0.1:{rest_port}/v1/models/m") as response:
            assert b'"AVAILABLE"' in response.read()

        request = predict_pb2.PredictRequest()
        request.model_spec.name = "m"
        request.model_spec.signature_name = "slow"
        request.inputs["seconds"].dtype = 1
        request.inputs["seconds"].float_val.append(2.0)
        with grpc.insecure_channel(f"unix:{tmp_path}/s") as channel:
            grpc.channel_ready_future(channel).result(60)
            predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
            under_way = predict.future(request, timeout=60)
            time.sleep(0.5)
            server.process.send_signal(signal.SIGTERM)
            assert under_way.result().outputs["seconds"].double_val[0] >= 2
        assert server.process.wait(60) == 0
        assert server.process.stdout.read() == f"unknown argument: surplus\n{USAGE}"
        assert not (tmp_path / "s").exists()
