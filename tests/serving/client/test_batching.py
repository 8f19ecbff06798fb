import threading

import grpc
import numpy as np
import pytest
import tensorflow as tf

from serving.errors import Code, ServingError, StatusError

pytestmark = pytest.mark.timing


def _rows(requests):
    """Row counts of what a server was sent, smallest first."""
    return sorted(request.inputs["x"].tensor_shape.dim[0].size for request in requests)


@pytest.mark.parametrize("rows", [1, 3, 4, 5, 8, 11])
def test_answers_are_joined_in_order(client, rows):
    inputs = {
        "a": np.arange(rows, dtype=np.float32),
        "b": np.linspace(0, 1, rows, dtype=np.float32),
    }
    whole = client.predict("arithmetic", inputs, "pair")
    parts = client.predict("arithmetic", inputs, "pair", max_batch_size=4)
    assert parts.keys() == whole.keys()
    for name in whole:
        np.testing.assert_array_equal(parts[name], whole[name])


def test_chunks_have_the_size_asked_for(make_client, scripted):
    servicer, address = scripted()
    x = np.arange(22).reshape(11, 2)
    outputs = make_client(address).predict("m", {"x": x}, max_batch_size=4)
    np.testing.assert_array_equal(outputs["x"], x)
    assert _rows(servicer.requests) == [3, 4, 4]


def test_strings_and_scalars(make_client, scripted):
    """A scalar goes with every chunk; as an output it has no rows, and cannot be joined."""
    servicer, address = scripted()
    words = [b"a\x00", b"", "猫".encode()]
    client = make_client(address)
    assert client.predict("m", {"x": words}, max_batch_size=2)["x"].tolist() == words
    with pytest.raises(ServingError, match=r"Output k has shape \[\] for rows \[0:2\]"):
        client.predict("m", {"x": words, "k": np.int32(3)}, max_batch_size=2)
    assert all(tf.make_ndarray(r.inputs["k"]) == 3 for r in servicer.requests[2:])


def test_no_rows_are_one_request(client):
    outputs = client.predict("arithmetic", {"x": np.zeros(0, np.float32)}, max_batch_size=4)
    assert (outputs["y"].shape, outputs["y"].dtype) == ((0,), np.float32)


@pytest.mark.parametrize("concurrency", [1, 2, 3])
def test_as_many_at_once_as_allowed(make_client, scripted, concurrency):
    """Six chunks, which pass a barrier in groups."""
    servicer, address = scripted(meeting=threading.Barrier(concurrency))
    x = np.arange(6, dtype=np.float32)
    outputs = make_client(address).predict("m", {"x": x}, max_batch_size=1, concurrency=concurrency)
    np.testing.assert_array_equal(outputs["x"], x)
    assert servicer.most == concurrency


def test_error_names_the_rows_and_keeps_the_code(client):
    x = np.ones(12, np.float32)
    x[5] = -1
    with pytest.raises(
        StatusError, match=r"^Of 12 rows failed rows \[4:8\]: .*must be positive"
    ) as caught:
        client.predict("arithmetic", {"x": x}, "positive", max_batch_size=4, concurrency=1)
    assert caught.value.code == Code.INVALID_ARGUMENT


def test_nothing_more_is_sent_after_a_failure(make_client, scripted):
    servicer, address = scripted(forever=(grpc.StatusCode.INTERNAL, "broken"))
    with pytest.raises(StatusError, match=r"^Of 100 rows failed rows \[0:10\]: broken$"):
        make_client(address).predict("m", {"x": np.ones(100)}, max_batch_size=10, concurrency=1)
    assert len(servicer.requests) == 1


def test_failures_under_way_together_are_all_named(make_client, scripted):
    _, address = scripted(
        forever=(grpc.StatusCode.INTERNAL, "broken"), meeting=threading.Barrier(2)
    )
    with pytest.raises(
        StatusError, match=r"^Of 4 rows failed rows \[0:2\]: broken; rows \[2:4\]: broken$"
    ):
        make_client(address).predict("m", {"x": np.ones(4)}, max_batch_size=2, concurrency=2)


def test_chunks_are_tried_again(make_client, scripted):
    servicer, address = scripted(script=[(grpc.StatusCode.UNAVAILABLE, "busy")])
    outputs = make_client(address).predict(
        "m", {"x": np.arange(4)}, max_batch_size=2, concurrency=1
    )
    assert outputs["x"].tolist() == [0, 1, 2, 3]
    assert len(servicer.requests) == 3


def test_one_deadline_for_all_chunks(make_client, scripted):
    _, address = scripted(seconds_each=0.2)
    with pytest.raises(StatusError, match=r"Of 6 rows failed .* within 0\.5 s") as caught:
        make_client(address).predict(
            "m", {"x": np.arange(6)}, max_batch_size=2, concurrency=1, timeout=0.5
        )
    assert caught.value.code == Code.DEADLINE_EXCEEDED


@pytest.mark.parametrize(
    ("inputs", "options", "text"),
    [
        ({"x": [1.0], "y": [1.0, 2.0]}, {}, r"the same for all. Received: x \[1\], y \[2\]"),
        ({"x": 1.0}, {}, r"Received: x \[\]"),
        ({}, {}, "Received: none"),
        (
            {"x": [1.0]},
            {"max_batch_size": 0},
            "Received: max_batch_size=0",
        ),
        (
            {"x": [1.0]},
            {"concurrency": 0},
            "Received: concurrency=0",
        ),
    ],
)
def test_inputs_that_cannot_be_cut(make_client, inputs, options, text):
    client = make_client("127.0.0.1:8500")
    with pytest.raises(ServingError, match=text):
        client.predict("m", inputs, **{"max_batch_size": 4, **options})
