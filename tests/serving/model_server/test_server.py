import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from serving.client import PredictClient
from serving.errors import ServingError, StatusError
from serving.model_server.server import ModelServer, ServerOptions
from tests.serving.waiting import wait_until

pytestmark = pytest.mark.timing


def _options(base, **options):
    ports = {"port": None, "rest_api_port": 0, "max_num_load_retries": 0}
    return ServerOptions(model_name="m", model_base_path=str(base), **{**ports, **options})


def _config(path: Path, models: dict[str, Path], labels: str = "", policy: str = "") -> None:
    path.write_text(
        "model_config_list {"
        + "".join(
            f'config {{ name: "{name}" base_path: "{base}" model_platform: "tensorflow" '
            f"{policy} {labels} }}"
            for name, base in models.items()
        )
        + "}"
    )


@pytest.mark.parametrize("kind", ["port", "rest_api_port"])
def test_port_in_use(arithmetic, kind):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ServingError) as caught:
            ModelServer(_options(arithmetic, **{kind: port})).start()
    assert f"port 127.0.0.1:{port} cannot be opened: Address already in use" in str(caught.value)
    assert f"choose another {kind}." in str(caught.value)


def test_a_host_that_there_is_not(arithmetic):
    text = r"^gRPC cannot listen on no\.such\.host\.invalid:8500: .*\. Choose another host\.$"
    with pytest.raises(ServingError, match=text):
        ModelServer(_options(arithmetic, port=8500, host="no.such.host.invalid")).start()


def test_port_of_another_model_server(arithmetic, server):
    """gRPC would share it by itself."""
    with pytest.raises(ServingError, match=f"127.0.0.1:{server.grpc_port} cannot be opened"):
        ModelServer(_options(arithmetic, port=server.grpc_port)).start()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            ServerOptions(port=None),
            "INVALID_ARGUMENT: Both server_options.model_base_path and "
            "server_options.model_config_file are empty!",
        ),
        (
            _options("/m", port=0),
            "INVALID_ARGUMENT: At least one of server_options.grpc_port or "
            "server_options.grpc_socket_path must be set.",
        ),
        (
            _options("relative/m"),
            "INVALID_ARGUMENT: Expected model m to have an absolute path or URI; "
            "got base_path()=relative/m",
        ),
    ],
)
def test_refused_options(options, text):
    with pytest.raises(StatusError) as caught:
        ModelServer(options).start()
    assert caught.value.text == text


def test_same_port_for_both_is_only_logged(arithmetic, caplog):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with ModelServer(_options(arithmetic, port=port, rest_api_port=port)) as server:
        assert (server.grpc_port, server.rest_port) == (port, None)
    assert caplog.messages == [
        "server_options.http_port cannot be same as grpc_port. Please use a different port for "
        "HTTP/REST API. Skipped exporting HTTP/REST API."
    ]


def test_ports_stay_closed_until_the_model_is_there(arithmetic, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = ModelServer(_options(tmp_path, port=port, file_system_poll_wait_seconds=0.05))
    server.start()
    try:
        with pytest.raises(ServingError, match=r"not ready within 0\.3 s"):
            server.wait_until_ready(0.3)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 1).close()
        (tmp_path / "1").symlink_to(arithmetic / "1")
        server.wait_until_ready(30)
        with PredictClient(f"127.0.0.1:{port}") as client:
            assert client.predict("m", {"x": [2.0]})["y"] == [3.0]
    finally:
        server.stop()


def test_stop_while_loading(tmp_path):
    server = ModelServer(_options(tmp_path))
    server.start()
    server.stop()
    with pytest.raises(StatusError, match="stopped while loading"):
        server.wait_until_ready(5)


def test_model_that_cannot_be_loaded(tmp_path):
    (tmp_path / "1").mkdir()
    with pytest.raises(StatusError) as caught, ModelServer(_options(tmp_path)):
        pass
    assert caught.value.text.startswith(
        "UNKNOWN: 1 model(s) did not become available: {{{name: m version: 1} due to error: "
        "NOT_FOUND: SavedModel file does not exist at"
    )


def test_new_version_directory_is_picked_up_and_old_one_unloaded(arithmetic, tmp_path, caplog):
    (tmp_path / "1").symlink_to(arithmetic / "1")
    options = _options(tmp_path, file_system_poll_wait_seconds=0.05)
    with ModelServer(options) as server, PredictClient(f"127.0.0.1:{server.grpc_port}") as client:
        assert client.predict("m", {"x": [0.0]})["y"] == [2.0]
        (tmp_path / "2").symlink_to(arithmetic / "2")
        wait_until(lambda: [s.state for s in client.model_status("m")] == ["AVAILABLE", "END"])
        assert client.predict("m", {"x": [0.0]})["y"] == [3.0]
        # The base path goes away: what is loaded stays.
        tmp_path.rename(tmp_path.with_name("elsewhere"))
        wait_until(lambda: f"Could not find base path {tmp_path}" in caplog.text)
        assert client.predict("m", {"x": [0.0]})["y"] == [3.0]


def test_config_file_is_followed_and_a_bad_one_changes_nothing(arithmetic, tmp_path, caplog):
    path = tmp_path / "models.config"
    _config(path, {"a": arithmetic})
    options = ServerOptions(
        port=None,
        rest_api_port=0,
        model_config_file=str(path),
        model_config_file_poll_wait_seconds=0.05,
    )

    def status(client, name):
        try:
            return [(s.version, s.state) for s in client.model_status(name)]
        except StatusError:
            return []

    with ModelServer(options) as server, PredictClient(f"127.0.0.1:{server.grpc_port}") as client:
        path.write_text("model_config_list { config { nonsense } }")
        wait_until(lambda: "Invalid protobuf file" in caplog.text)
        assert status(client, "a") == [(2, "AVAILABLE")]
        # A label on a version that is not loaded refuses the whole file.
        labels = 'version_labels { key: "stable" value: 1 }'
        policy = "model_version_policy { all {} }"
        _config(path, {"a": arithmetic}, labels, policy)
        wait_until(lambda: "Request to assign label to version 1 of model a" in caplog.text)
        assert status(client, "a") == [(2, "AVAILABLE")]
        # In two steps it works: load, then label.
        _config(path, {"a": arithmetic}, "", policy)
        wait_until(lambda: status(client, "a") == [(2, "AVAILABLE"), (1, "AVAILABLE")])
        _config(path, {"a": arithmetic}, labels, policy)

        def stable_answers():
            try:
                return client.predict("a", {"x": [0.0]}, version_label="stable")["y"] == [2.0]
            except StatusError:
                return False

        wait_until(stable_answers)
        _config(path, {"b": arithmetic})
        wait_until(lambda: status(client, "b") == [(2, "AVAILABLE")])
        wait_until(lambda: {state for _, state in status(client, "a")} == {"END"})


def test_requests_under_way_hold_their_version_while_a_new_one_replaces_it(arithmetic, tmp_path):
    (tmp_path / "1").symlink_to(arithmetic / "1")
    options = _options(tmp_path, file_system_poll_wait_seconds=0.05)
    answers = []
    with ModelServer(options) as server, PredictClient(f"127.0.0.1:{server.grpc_port}") as client:
        client.predict("m", {"x": [1.0]})  # connects
        slow = threading.Thread(
            target=lambda: answers.append(client.predict("m", {"seconds": 4.0}, "slow"))
        )
        slow.start()
        time.sleep(0.5)
        (tmp_path / "2").symlink_to(arithmetic / "2")
        wait_until(
            lambda: [s.state for s in client.model_status("m")] == ["AVAILABLE", "UNLOADING"]
        )
        assert not answers
        slow.join()
        assert answers[0]["seconds"] >= 4
        wait_until(lambda: [s.state for s in client.model_status("m")] == ["AVAILABLE", "END"])


def test_stop_drains_and_refuses_new_requests(arithmetic):
    server = ModelServer(_options(arithmetic))
    server.start()
    server.wait_until_ready()
    answers = []
    with PredictClient(f"127.0.0.1:{server.grpc_port}") as client:
        client.predict("m", {"x": [1.0]})  # connects
        slow = threading.Thread(
            target=lambda: answers.append(client.predict("m", {"seconds": 4.0}, "slow"))
        )
        slow.start()
        time.sleep(0.5)
        stopper = threading.Thread(target=server.stop)
        stopper.start()

        def refused():
            try:
                client.predict("m", {"x": [1.0]})
            except StatusError as error:
                return error.message.startswith("No model server answers")

        wait_until(refused)
        assert not answers
        stopper.join()
        slow.join()
    assert answers[0]["seconds"] >= 4


PROGRAM = """
import sys
from serving.model_server.server import ModelServer, ServerOptions
options = ServerOptions(port=None, rest_api_port=None, model_name="m", model_base_path=sys.argv[1])
ModelServer(options).serve_forever(
    on_ready=lambda server: print(server.grpc_port, server.rest_port, flush=True)
)
"""


@pytest.mark.slow
def test_sigterm_drains_and_exits_with_zero(arithmetic):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, arithmetic], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        grpc_port, rest_port = map(int, process.stdout.readline().split())
        answers = []
        with PredictClient(f"127.0.0.1:{grpc_port}") as client:
            client.predict("m", {"x": [1.0]})  # connects
            slow = threading.Thread(
                target=lambda: answers.append(client.predict("m", {"seconds": 2.0}, "slow"))
            )
            slow.start()
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            slow.join()
            assert answers[0]["seconds"] >= 2
        assert process.wait(20) == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", rest_port), 1).close()
    finally:
        process.kill()
        process.wait()
