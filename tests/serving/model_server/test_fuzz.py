"""Whatever is sent: an answer that blames the sender, and nobody else notices.

The examples are the same in every run; benchmarks/fuzz_serving.py tries others, and more.
"""

import os

import grpc
import pytest
from hypothesis import HealthCheck, given, settings

from serving.model_server.server import ModelServer, ServerOptions
from tests.serving import fuzzing

pytestmark = pytest.mark.timing

_EXAMPLES = os.environ.get("VLSEARCH_FUZZ_EXAMPLES")
_FUZZ = settings(
    max_examples=int(_EXAMPLES or 250),
    derandomize=_EXAMPLES is None,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
# 500 is not among them.
_REST_STATUSES = {200, 400, 404, 413, 429, 501}


@pytest.fixture(scope="module")
def target(arithmetic, half_plus_two, tmp_path_factory):
    """(REST port, gRPC channel) of a server with all its limits on."""
    path = tmp_path_factory.mktemp("fuzz") / "models.config"
    configs = "".join(
        f'config {{ name: "{name}" base_path: "{base}" model_platform: "tensorflow"'
        f" model_version_policy {{ all {{}} }} {labels} }}"
        for name, base, labels in (
            ("arithmetic", arithmetic, 'version_labels { key: "stable" value: 1 }'),
            ("half_plus_two", half_plus_two, ""),
        )
    )
    path.write_text(f"model_config_list {{ {configs} }}")
    options = ServerOptions(
        port=None,
        rest_api_port=None,
        model_config_file=str(path),
        allow_version_labels_for_unavailable_models=True,
        rest_api_read_timeout_in_ms=2000,
        rest_api_max_request_bytes=1 << 20,
        rest_api_num_threads=2,
    )
    with (
        ModelServer(options) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel,
    ):
        yield server.rest_port, channel


@_FUZZ
@given(body=fuzzing.bodies)
def test_rest_bodies(target, body):
    for verb in ("predict", "classify", "regress"):
        model = "arithmetic" if verb == "predict" else "half_plus_two"
        status = fuzzing.send_rest(target[0], "POST", f"/v1/models/{model}:{verb}", [], body)
        assert status in _REST_STATUSES


@_FUZZ
@given(method=fuzzing.methods, path=fuzzing.paths, headers=fuzzing.headers, body=fuzzing.bodies)
def test_rest_requests(target, method, path, headers, body):
    status = fuzzing.send_rest(target[0], method, path, headers, body)
    assert status in _REST_STATUSES


@_FUZZ
@given(data=fuzzing.raw_requests)
def test_rest_bytes(target, data):
    received = fuzzing.send_raw(target[0], data)
    assert received == b"" or received.startswith(b"HTTP/1.1 ")
    assert b"HTTP/1.1 500" not in received


@_FUZZ
@given(message=fuzzing.messages())
def test_grpc_messages(target, message):
    code, text = fuzzing.send_grpc(target[1], *message)
    assert code not in fuzzing.FORBIDDEN, text


@_FUZZ
@given(message=fuzzing.wire_messages)
def test_grpc_bytes(target, message):
    code, text = fuzzing.send_grpc(target[1], *message)
    if fuzzing.is_message(*message):
        assert code not in fuzzing.FORBIDDEN, text
    else:
        assert code == grpc.StatusCode.INTERNAL, text


@pytest.fixture(autouse=True)
def others_are_answered(target):
    """A request after the examples of each test gets its right answer."""
    yield
    fuzzing.check_health(*target)
