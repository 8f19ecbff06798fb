import contextlib
import subprocess
import sys
import threading
import time

import grpc
import pytest

from serving.model_server.options import ServerOptions
from serving.model_server.rpc.profiler import (
    ProfileRequest,
    ProfileResponse,
    TerminateRequest,
    TerminateResponse,
)
from serving.model_server.server import ModelServer

pytestmark = pytest.mark.timing

CLIENT = """
import sys
import tensorflow as tf
tf.profiler.experimental.client.trace(sys.argv[1], sys.argv[2], 300)
"""


def _options(arithmetic, **options):
    return ServerOptions(
        port=None,
        model_name="m",
        model_base_path=str(arithmetic),
        max_num_load_retries=0,
        **options,
    )


@pytest.fixture(scope="module")
def server(arithmetic):
    with ModelServer(_options(arithmetic)) as server:
        yield server


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        yield channel


def _profile(channel):
    return channel.unary_unary(
        "/tensorflow.ProfilerService/Profile",
        ProfileRequest.SerializeToString,
        ProfileResponse.FromString,
    )


def _terminate(channel, session):
    return channel.unary_unary(
        "/tensorflow.ProfilerService/Terminate",
        TerminateRequest.SerializeToString,
        TerminateResponse.FromString,
    )(TerminateRequest(session_id=session), timeout=10)


def _planes(path):
    from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XSpace

    return [plane.name for plane in XSpace.FromString(path.read_bytes()).planes]


def test_the_trace_is_written_and_not_in_the_response(channel, tmp_path):
    request = ProfileRequest(
        duration_ms=50,
        repository_root=str(tmp_path),
        session_id="run",
        host_name="localhost:8500",
    )
    response = _profile(channel)(request, timeout=60)
    assert response.SerializeToString() == b""
    (file,) = (tmp_path / "run").iterdir()
    assert file.name == "localhost_8500.xplane.pb"
    assert "/host:CPU" in _planes(file)


def test_session_and_host_have_names_without_a_request_for_them(channel, tmp_path):
    request = ProfileRequest(duration_ms=1, repository_root=str(tmp_path))
    _profile(channel)(request, timeout=60)
    (file,) = tmp_path.glob("*/*.xplane.pb")
    assert time.strptime(file.parent.name, "%Y_%m_%d_%H_%M_%S")


def _begin(channel, folder):
    """A session that runs, and the refusal of a second one."""
    request = ProfileRequest(
        duration_ms=600_000, repository_root=str(folder), session_id="long", host_name="h"
    )
    short = ProfileRequest(duration_ms=1, repository_root=str(folder), session_id="short")
    while True:
        # Refused itself if a short one came first.
        call = _profile(channel).future(request, timeout=120)
        while not call.done():
            try:
                _profile(channel)(short, timeout=60)
            except grpc.RpcError as refusal:
                return call, refusal


def test_terminate_ends_a_session_and_a_second_one_is_refused(channel, tmp_path):
    running, refusal = _begin(channel, tmp_path)
    assert refusal.code() == grpc.StatusCode.ALREADY_EXISTS
    assert refusal.details() == "Another profiler session is active."
    _terminate(channel, "another")
    assert not running.done()
    _terminate(channel, "long")
    running.result(60)
    assert (tmp_path / "long/h.xplane.pb").exists()


def test_a_client_that_goes_away_ends_its_session(channel, tmp_path):
    running, _ = _begin(channel, tmp_path)
    running.cancel()
    request = ProfileRequest(duration_ms=1, repository_root=str(tmp_path), session_id="next")
    deadline = time.monotonic() + 30
    while not (tmp_path / "next").exists():
        assert time.monotonic() < deadline
        with contextlib.suppress(grpc.RpcError):
            _profile(channel)(request, timeout=60)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"repository_root": ""}, "repository_root is empty: it is where to write."),
        ({"session_id": "../x"}, "Not the name of a file or folder: ../x"),
        ({"session_id": ".."}, "Not the name of a file or folder: .."),
        ({"host_name": "a/b"}, "Not the name of a file or folder: a/b"),
    ],
)
def test_refused(channel, tmp_path, fields, text):
    request = ProfileRequest(
        **{"duration_ms": 1, "repository_root": str(tmp_path / "root"), "session_id": "s", **fields}
    )
    with pytest.raises(grpc.RpcError) as caught:
        _profile(channel)(request, timeout=60)
    assert (caught.value.code(), caught.value.details()) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        text,
    )
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written(channel, tmp_path):
    (tmp_path / "s").touch()
    request = ProfileRequest(duration_ms=1, repository_root=str(tmp_path), session_id="s")
    with pytest.raises(grpc.RpcError) as caught:
        _profile(channel)(request, timeout=60)
    assert caught.value.code() == grpc.StatusCode.INTERNAL
    assert caught.value.details().startswith(f"Cannot write {tmp_path}/s/")


def test_off(arithmetic):
    with (
        ModelServer(_options(arithmetic, enable_profiler=False)) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        _terminate(channel, "x")
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_a_server_that_stops_ends_the_session(arithmetic, tmp_path):
    server = ModelServer(_options(arithmetic))
    with server, grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        running, _ = _begin(channel, tmp_path)
        stopper = threading.Thread(target=server.stop, args=(300,))
        stopper.start()
        running.result(60)
        stopper.join(60)
        assert not stopper.is_alive()
    assert (tmp_path / "long/h.xplane.pb").exists()


@pytest.mark.slow
def test_the_client_of_tensorflow(server, tmp_path):
    """In a process of its own: its crash would be ours."""
    address = f"grpc://localhost:{server.grpc_port}"
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, address, tmp_path], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (file,) = tmp_path.glob("plugins/profile/*/*.xplane.pb")
    assert "/host:CPU" in _planes(file)
