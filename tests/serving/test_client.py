import socket
import subprocess
import sys

import numpy as np
import pytest

from serving.client import PredictClient
from serving.errors import Code, ServingError, StatusError


@pytest.fixture
def client(server):
    with PredictClient(f"127.0.0.1:{server.grpc_port}") as client:
        yield client


def test_import_is_quick_and_brings_no_tensorflow():
    program = (
        "import time; start = time.process_time()\n"
        "import serving.client, serving.release\n"
        "seconds = time.process_time() - start\n"
        "import sys\n"
        "heavy = {'tensorflow', 'faiss', 'pyarrow', 'tensorflow_serving', 'fastapi'}\n"
        "print(seconds, sorted(heavy & set(sys.modules)))\n"
    )
    runs = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        for _ in range(3)
    ]
    seconds, modules = zip(*(run.stdout.strip().split(" ", 1) for run in runs))
    assert set(modules) == {"[]"}
    # Seconds of processor time, the best of three: a busy machine is no fault of the import.
    assert min(map(float, seconds)) < 0.5


def test_predict_returns_arrays_and_the_newest_version_answers(client):
    outputs = client.predict("arithmetic", {"x": [1.0, 2.0, 5.0]})
    np.testing.assert_allclose(outputs["y"], [3.5, 4.0, 5.5])


@pytest.mark.parametrize(
    ("choice", "expected"),
    [({"version": 1}, 2.5), ({"version_label": "stable"}, 2.5), ({"version_label": "canary"}, 3.5)],
)
def test_version_and_label(client, choice, expected):
    outputs = client.predict("arithmetic", {"x": np.ones(1, np.float32)}, **choice)
    assert outputs["y"] == [expected]


def test_strings_and_signature(client):
    outputs = client.predict("arithmetic", {"s": ["abc", b"\xff\x00"]}, signature_name="text")
    assert outputs["upper"].tolist()[0] == b"ABC"
    assert outputs["raw_bytes"].tolist() == [b"abc", b"\xff\x00"]


def test_tower_with_tf_text_operators(client):
    embedding = client.predict("text_tower", {"query": ["猫", "Tea Pot", "tea pot"]})["embedding"]
    assert embedding.shape == (3, 8)
    np.testing.assert_array_equal(embedding[1], embedding[2])
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, rtol=1e-6)


def test_messages_larger_than_grpc_allows_by_default(client):
    x = np.ones((1500, 1000), np.float32)
    outputs = client.predict("arithmetic", {"x": x}, signature_name="matrix")
    assert outputs["doubled"].shape == x.shape
    assert outputs["size"] == x.size


def test_status(client):
    assert [(s.version, s.state) for s in client.model_status("arithmetic")] == [
        (2, "AVAILABLE"),
        (1, "AVAILABLE"),
    ]
    # The directory is called 0007.
    assert [s.version for s in client.model_status("text_tower")] == [7]


def test_error_of_the_server_has_its_code_and_text(client):
    with pytest.raises(StatusError) as caught:
        client.predict("nothing", {"x": [1.0]})
    assert caught.value.code == Code.NOT_FOUND
    assert str(caught.value) == "Servable not found for request: Latest(nothing)"


def test_deadline(client):
    client.timeout = 0.2
    with pytest.raises(StatusError, match=r"did not answer within 0\.2 s") as caught:
        client.predict("arithmetic", {"seconds": 1.0}, signature_name="slow")
    assert caught.value.code == Code.DEADLINE_EXCEEDED


def test_nobody_listens():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    with (
        PredictClient(address) as client,
        pytest.raises(StatusError, match=f"No model server answers at {address}") as caught,
    ):
        client.predict("m", {})
    assert caught.value.code == Code.UNAVAILABLE
    assert "vlsearch serve" in str(caught.value)


@pytest.mark.parametrize("address", ["localhost", "8500", ":8500", "host:port"])
def test_address_that_is_none(address):
    with pytest.raises(ServingError, match="HOST:PORT"):
        PredictClient(address)


def test_version_and_label_together(client):
    with pytest.raises(ServingError, match="either version or version_label"):
        client.predict("arithmetic", {"x": [1.0]}, version=1, version_label="stable")
