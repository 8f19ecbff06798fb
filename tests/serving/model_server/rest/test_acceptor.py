"""More connections than descriptors: a real server process with a low limit of open files."""

import contextlib
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import grpc
import pytest
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

from tests.serving.sockets import connect, exchange, post, read_response
from tests.serving.waiting import wait_until

PREDICT = "/v1/models/m:predict"
REQUEST = post(PREDICT, b'{"instances": [1.0]}')
STATUS = b"GET /v1/models/m HTTP/1.1\r\nHost: x\r\n\r\n"
DESCRIPTORS = 160

SERVER = """
import logging, sys
from serving.model_server.server import ModelServer, ServerOptions
logging.basicConfig()
options = ServerOptions(
    port=None, rest_api_port=None, model_name="m", model_base_path=sys.argv[1],
    file_system_poll_wait_seconds=0.1, max_num_load_retries=0, rest_api_num_threads=4,
)
ModelServer(options).serve_forever(
    on_ready=lambda server: print(server.grpc_port, server.rest_port, flush=True)
)
"""


class _Server:
    def __init__(self, base, log):
        def limit():
            resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))

        self.log = log
        with log.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SERVER, str(base)],
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                preexec_fn=limit,
            )
        assert self.process.stdout is not None
        self.grpc_port, self.rest_port = map(int, self.process.stdout.readline().split())

    def warnings(self):
        """Lines of this server's own log."""
        return [line for line in self.log.read_text().splitlines() if ":serving." in line]

    def descriptors(self):
        return sum(1 for _ in Path(f"/proc/{self.process.pid}/fd").iterdir())

    def cpu_ticks(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])


@pytest.fixture(scope="module")
def base(arithmetic, tmp_path_factory):
    base = tmp_path_factory.mktemp("base")
    (base / "1").symlink_to(arithmetic / "1")
    return base


@pytest.fixture(scope="module")
def server(base, tmp_path_factory):
    server = _Server(base, tmp_path_factory.mktemp("log") / "stderr")
    yield server
    server.process.kill()
    server.process.wait()


def _versions(server):
    body = json.loads(exchange(server.rest_port, STATUS)[2])
    states = [(item["version"], item["state"]) for item in body["model_version_status"]]
    return [version for version, state in states if state == "AVAILABLE"]


@pytest.mark.slow
def test_idle_connections_make_room(server, base, arithmetic):
    before = len(server.warnings())
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(connect(server.rest_port)) for _ in range(3 * DESCRIPTORS)]
        kept = stack.enter_context(connect(server.rest_port))
        for _ in range(3):
            kept.sendall(REQUEST)
            assert read_response(kept, "POST")[0] == 200
            assert exchange(server.rest_port, REQUEST, "POST")[0] == 200
        # The first ones were closed, the last ones not.
        assert silent[0].recv(1) == b""
        silent[-1].sendall(STATUS)
        assert read_response(silent[-1])[0] == 200
        # Descriptors are left for a new version.
        (base / "2").symlink_to(arithmetic / "2")
        wait_until(lambda: _versions(server) == ["2"])
        assert len(server.warnings()) == before


@pytest.mark.slow
def test_connections_in_use_make_the_others_wait(server):
    """Half a request each: none of them can be closed."""
    before = len(server.warnings())
    with contextlib.ExitStack() as stack:
        kept = stack.enter_context(connect(server.rest_port))
        kept.sendall(REQUEST)
        assert read_response(kept, "POST")[0] == 200
        kept.sendall(REQUEST[:-1])
        half = []
        for _ in range(DESCRIPTORS):
            half.append(stack.enter_context(connect(server.rest_port)))
            half[-1].sendall(REQUEST[:-1])
        wait_until(lambda: len(server.warnings()) > before)
        kept.sendall(REQUEST[-1:])
        assert read_response(kept, "POST")[0] == 200
        ticks = server.cpu_ticks()
        time.sleep(2)
        # In hundredths of a second: it rests.
        assert server.cpu_ticks() - ticks < 100
        assert server.descriptors() < DESCRIPTORS
        waiting = stack.enter_context(connect(server.rest_port))
        waiting.sendall(REQUEST)
        for connection in half:
            connection.close()
        assert read_response(waiting, "POST")[0] == 200
    assert exchange(server.rest_port, REQUEST, "POST")[0] == 200
    # Once in ten seconds.
    assert len(server.warnings()) <= before + 2


@pytest.mark.slow
def test_grpc_has_a_bound_too(server):
    before = len(server.warnings())
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "m"
    with contextlib.ExitStack() as stack:
        for _ in range(2 * DESCRIPTORS):
            stack.enter_context(connect(server.grpc_port))
        assert exchange(server.rest_port, REQUEST, "POST")[0] == 200
        assert server.descriptors() < DESCRIPTORS
        # Those that say nothing are closed, and others have their turn.
        address, options = f"127.0.0.1:{server.grpc_port}", [("grpc.max_reconnect_backoff_ms", 500)]
        channel = stack.enter_context(grpc.insecure_channel(address, options))
        status = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus
        assert status(request, timeout=60, wait_for_ready=True).model_version_status
    assert len(server.warnings()) == before
