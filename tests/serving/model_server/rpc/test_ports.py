import socket

import grpc
import pytest
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

from serving.errors import ServingError
from serving.model_server.options import ServerOptions
from serving.model_server.rpc.ports import check_socket_path
from serving.model_server.server import ModelServer


def _options(arithmetic, path, model_name="m", **options):
    return ServerOptions(
        model_name=model_name,
        model_base_path=str(arithmetic),
        max_num_load_retries=0,
        grpc_socket_path=str(path),
        **options,
    )


def _version(address, model_name="m"):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = model_name
    with grpc.insecure_channel(address) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        return stub.GetModelStatus(request, timeout=10).model_version_status[0].version


def _stale(path):
    """The file that a server leaves behind when it is killed."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


def test_socket_beside_the_port(arithmetic, tmp_path):
    path = tmp_path / "s"
    _stale(path)
    with ModelServer(_options(arithmetic, path, port=None)) as server:
        assert _version(f"127.0.0.1:{server.grpc_port}") == 2
        assert _version(f"unix:{path}") == 2
    assert not path.exists()


def test_the_newest_server_has_the_path(arithmetic, tmp_path, caplog):
    path = tmp_path / "s"
    with (
        ModelServer(_options(arithmetic, path, port=None)) as old,
        ModelServer(_options(arithmetic, path, port=None, model_name="new")),
    ):
        assert f"Another process listens at the UNIX socket {path}." in caplog.text
        assert _version(f"unix:{path}", "new") == 2
        assert _version(f"127.0.0.1:{old.grpc_port}") == 2


def test_socket_instead_of_the_port(arithmetic, tmp_path, monkeypatch):
    """With a path relative to the working directory."""
    monkeypatch.chdir(tmp_path)
    with ModelServer(_options(arithmetic, "s", port=0)) as server:
        assert server.grpc_port is None
        assert server.rest_port is None
        assert _version(f"unix:{tmp_path}/s") == 2


def test_dead_socket_is_free_and_a_missing_one_too(tmp_path):
    check_socket_path(str(tmp_path / "absent"))
    _stale(tmp_path / "stale")
    check_socket_path(str(tmp_path / "stale"))


def test_paths_that_cannot_be_taken(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ServingError, match="a file of that name is no socket"):
        check_socket_path(str(tmp_path / "file"))
    with pytest.raises(ServingError, match=f"no folder {tmp_path}/absent. Create it"):
        check_socket_path(str(tmp_path / "absent/s"))


def test_path_that_is_too_long_for_a_socket(arithmetic, tmp_path):
    path = tmp_path / ("a" * 120)
    with (
        pytest.raises(ServingError, match=f"gRPC cannot listen on unix:{path}: Failed to bind"),
        ModelServer(_options(arithmetic, path, port=0)),
    ):
        pass


@pytest.mark.parametrize(
    "limit",
    [
        {"max_request_bytes": 1000},
        {"grpc_channel_arguments": "grpc.max_receive_message_length=1000,x=y"},
    ],
)
def test_channel_arguments_and_limits_reach_grpc(arithmetic, tmp_path, limit):
    request = get_model_status_pb2.GetModelStatusRequest()
    with (
        ModelServer(_options(arithmetic, tmp_path / "s", port=0, **limit)),
        grpc.insecure_channel(f"unix:{tmp_path}/s") as channel,
    ):
        status = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus
        request.model_spec.name = "m" * 900
        with pytest.raises(grpc.RpcError) as caught:
            status(request, timeout=10)
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        request.model_spec.name = "m" * 1100
        with pytest.raises(grpc.RpcError) as caught:
            status(request, timeout=10)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
