import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from serving.client import PredictClient, RetryPolicy
from serving.client.retry import Attempts, Deadline
from serving.errors import Code, ServingError, StatusError

pytestmark = pytest.mark.timing

FULL = (
    grpc.StatusCode.UNAVAILABLE,
    "The batch scheduling queue to which this task was submitted is full; task size is 1",
)
QUICK = RetryPolicy(attempts=3, initial_backoff=0.01)


def _predict(client, **options):
    return client.predict("m", {"x": [1.0, 2.0]}, **options)["x"].tolist()


def test_pauses_are_uniform_up_to_an_exponential_bound():
    policy = RetryPolicy(initial_backoff=0.5, multiplier=3.0, max_backoff=4.0)
    for attempts, bound in ((1, 0.5), (2, 1.5), (3, 4.0), (4, 4.0), (500, 4.0)):
        pauses = np.array([policy.pause(attempts) for _ in range(4000)]) / bound
        assert pauses.min() >= 0 and pauses.max() <= 1
        # Of a uniform variable; the bounds are more than six standard errors away.
        assert abs(pauses.mean() - 1 / 2) < 0.03
        assert abs(pauses.var() - 1 / 12) < 0.01


def test_unavailable_is_tried_again(make_client, scripted):
    servicer, address = scripted(script=[FULL, FULL])
    assert _predict(make_client(address, retry=QUICK)) == [1.0, 2.0]
    assert len(servicer.requests) == 3


def test_number_of_attempts_and_the_words_of_the_server(make_client, scripted):
    servicer, address = scripted(forever=FULL)
    with pytest.raises(StatusError) as caught:
        _predict(make_client(address, retry=QUICK))
    assert len(servicer.requests) == 3
    assert caught.value.code == Code.UNAVAILABLE
    assert str(caught.value) == f"{FULL[1]} ({address}, UNAVAILABLE after 3 attempts)"


def test_one_attempt(make_client, scripted):
    servicer, address = scripted(forever=FULL)
    with pytest.raises(StatusError) as caught:
        _predict(make_client(address, retry=RetryPolicy(attempts=1)))
    assert len(servicer.requests) == 1
    assert str(caught.value) == f"{FULL[1]} ({address}, UNAVAILABLE)"


@pytest.mark.parametrize(
    "code",
    ["INVALID_ARGUMENT", "NOT_FOUND", "INTERNAL", "RESOURCE_EXHAUSTED", "ABORTED", "UNKNOWN"],
)
def test_other_statuses_are_final(make_client, scripted, code):
    servicer, address = scripted(script=[(grpc.StatusCode[code], "no")])
    with pytest.raises(StatusError, match=r"^no$") as caught:
        _predict(make_client(address, retry=QUICK))
    assert caught.value.code == Code[code]
    assert len(servicer.requests) == 1


def test_deadline_spans_all_attempts(make_client, scripted):
    servicer, address = scripted(forever=FULL)
    retry = RetryPolicy(attempts=10_000, initial_backoff=0.05, max_backoff=0.05)
    with pytest.raises(StatusError) as caught:
        _predict(make_client(address, retry=retry), timeout=0.5)
    assert caught.value.code in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED)
    assert 1 < len(servicer.requests) < 10_000
    # On its way gRPC rounds a timeout up, by less than 2 %.
    assert servicer.seconds[-1] < servicer.seconds[0] < 0.51


def test_no_pause_outlasts_the_deadline(make_client, scripted):
    """The client would sleep for an hour."""
    servicer, address = scripted(forever=FULL)
    retry = RetryPolicy(attempts=2, initial_backoff=1e6, max_backoff=1e6)
    with pytest.raises(StatusError, match=r"queue .* full") as caught:
        _predict(make_client(address, retry=retry), timeout=20)
    assert caught.value.code == Code.UNAVAILABLE
    assert len(servicer.requests) == 1


def test_deadline_of_a_call_overrides_that_of_the_client(make_client, scripted):
    servicer, address = scripted()
    client = make_client(address, 50.0)
    _predict(client)
    _predict(client, timeout=7)
    _predict(client, timeout=float("inf"))
    # On its way gRPC rounds a timeout up, by less than 2 %.
    assert 7.2 < servicer.seconds[0] < 51
    assert servicer.seconds[1] < 7.2
    # No deadline: gRPC's own word for it is some hundred years.
    assert servicer.seconds[2] is None or servicer.seconds[2] > 1e8


def test_a_server_that_starts_late(make_client, scripted):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    client = make_client(address, retry=RetryPolicy(10_000, 0.01, max_backoff=0.05))
    with pytest.raises(StatusError, match="No model server answers"):
        _predict(client, timeout=0.3)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(_predict, client, timeout=60)
        scripted(address)
        assert answer.result() == [1.0, 2.0]


def test_a_server_that_comes_back_on_the_same_channel(make_client, scripted):
    """Its requests outgrow the buffer that gRPC's own retries have."""
    servicer, address = scripted(script=[FULL])
    x = np.ones((1 << 20,), np.float32)
    outputs = make_client(address, retry=QUICK).predict("m", {"x": x})
    np.testing.assert_array_equal(outputs["x"], x)
    assert len(servicer.requests) == 2


def test_threads_share_a_client(scripted):
    servicer, address = scripted(script=[FULL] * 4, meeting=None)
    start = threading.Barrier(8)

    def call(number):
        start.wait(30)
        return client.predict("m", {"x": [float(number)]})["x"].tolist()

    with PredictClient(address, retry=QUICK) as client, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(call, range(8))) == [[float(n)] for n in range(8)]
    assert len(servicer.requests) == 12


def test_last_attempt_is_told_from_others():
    attempts = Attempts(RetryPolicy(attempts=2, initial_backoff=0.0), Deadline(60))
    attempts.start()
    assert attempts.pause(Code.INTERNAL) is None
    assert attempts.pause(Code.UNAVAILABLE) == 0.0
    attempts.start()
    assert attempts.pause(Code.UNAVAILABLE) is None


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"attempts": 0}, "attempts is a whole number, at least 1"),
        ({"attempts": 2.5}, "attempts is a whole number, at least 1"),
        ({"initial_backoff": -1.0}, "Pauses are not negative"),
        ({"multiplier": 0.5}, "do not shrink"),
    ],
)
def test_policies_that_are_none(options, text):
    with pytest.raises(ServingError, match=text):
        RetryPolicy(**options)


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan"), "3", True])
def test_timeouts_that_are_none(make_client, timeout):
    with pytest.raises(ServingError, match="positive number of seconds"):
        make_client("127.0.0.1:8500", timeout)
    with pytest.raises(ServingError, match="positive number of seconds"):
        _predict(make_client("127.0.0.1:8500"), timeout=timeout)


@pytest.mark.parametrize("timeout", [1e300, float("inf"), 10**30])
def test_what_grpc_cannot_count_is_for_ever(timeout):
    assert Deadline(timeout).grpc_timeout() is None
