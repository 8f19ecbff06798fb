"""What HTTP clients do besides plain requests: real sockets, bytes by hand."""

import http.client
import json
import select
import shutil
import socket
import subprocess
import time

import pytest

from serving.model_server.rest.http_protocol import MAX_HEAD_BYTES
from tests.serving.sockets import Responses, chunked, connect, exchange, post, read_response

PREDICT = "/v1/models/arithmetic:predict"
BODY = b'{"instances": [1.0]}'
ANSWER = {"predictions": [3.5]}
SLOW = b'{"signature_name": "slow", "inputs": 0.5}'
# As Java's HttpClient and `curl --http2` send it with each first request.
H2C = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAAA")
WEBSOCKET = ("connection: keep-alive, upgrade", "upgrade: websocket", "sec-websocket-version: 13")


def _get(*headers):
    lines = ["GET /v1/models/arithmetic HTTP/1.1", "Host: x", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def _read_to_the_end(connection):
    """All that comes until the server closes."""
    data = b""
    while piece := connection.recv(1 << 16):
        data += piece
    return data


def _is_answer(responses):
    status, headers, body = read_response(responses, "POST")
    assert headers["Upgrade"] is None
    return (status, json.loads(body)) == (200, ANSWER)


@pytest.mark.parametrize("offer", [H2C, WEBSOCKET], ids=["h2c", "websocket"])
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_the_offer_of_another_protocol_is_ignored(server, offer, size):
    """With and without a body, on a connection that goes on, however the bytes come."""
    requests = [
        post(PREDICT, BODY, *offer),
        post(PREDICT, BODY),
        chunked(PREDICT, [BODY[:3], BODY[3:]], *offer),
        post(PREDICT, BODY, *offer),
        _get(*offer),
        _get(),
        post(PREDICT, BODY, "Connection: close"),
    ]
    data = b"".join(requests)
    with connect(server.rest_port) as connection:
        for start in range(0, len(data), size):
            connection.sendall(data[start : start + size])
        responses = Responses(connection)
        assert all(_is_answer(responses) for _ in range(4))
        for _ in range(2):
            assert read_response(responses)[0] == 200
        assert _is_answer(responses)
        # Nothing was answered twice.
        assert responses.makefile("rb").read() == b""


def test_an_offer_with_a_body_that_waits_to_be_asked_for(server):
    with connect(server.rest_port) as connection:
        head, _, _ = post(PREDICT, BODY, "Expect: 100-continue", *H2C).rpartition(b"\r\n\r\n")
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(BODY)
        assert _is_answer(connection)


def test_connect_is_no_offer(server):
    with connect(server.rest_port) as connection:
        connection.sendall(b"CONNECT /v1/models/arithmetic HTTP/1.1\r\n\r\n" + _get())
        assert _read_to_the_end(connection).count(b"HTTP/1.1 ") == 1


def test_http_2_without_an_offer_is_told_where_it_is(server):
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
    with connect(server.rest_port) as connection:
        connection.sendall(preface)
        answer = _read_to_the_end(connection)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.endswith(
        b"\r\n\r\nThis is the port of the REST API, which speaks HTTP/1.1. gRPC has another port.\n"
    )


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("flags", [["--http2"], ["--http1.0"], ["--http1.1"]])
def test_curl_with_a_body_that_it_asks_leave_for(server, tmp_path, flags):
    values = [float(i) for i in range(300_000)]
    (tmp_path / "body").write_text(json.dumps({"instances": values}))
    url = f"http://127.0.0.1:{server.rest_port}{PREDICT}"
    done = subprocess.run(
        ["curl", "--silent", "--fail", *flags, "--data", f"@{tmp_path / 'body'}", url, "--next",
         "--silent", "--fail", *flags, "--data", BODY, url],
        capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    first, second = done.stdout.split(b"}")[:2]
    assert len(json.loads(first + b"}")["predictions"]) == len(values)
    assert json.loads(second + b"}") == ANSWER


@pytest.mark.parametrize(
    "request_bytes",
    [
        post(PREDICT, BODY),
        chunked(PREDICT, [BODY]),
        post(PREDICT, BODY, *H2C),
        post(PREDICT, BODY, "Connection: close"),
    ],
    ids=["plain", "chunked", "upgrade", "close"],
)
def test_a_client_that_closes_its_side_is_answered(server, request_bytes):
    with connect(server.rest_port) as connection:
        connection.sendall(request_bytes)
        connection.shutdown(socket.SHUT_WR)
        assert _is_answer(connection)
        assert connection.recv(1) == b""


def test_all_that_was_asked_before_the_side_was_closed_is_answered(server):
    slow = post(PREDICT, SLOW)
    with connect(server.rest_port) as connection:
        connection.sendall(slow + post(PREDICT, BODY) + _get() + post(PREDICT, BODY)[:-1])
        connection.shutdown(socket.SHUT_WR)
        responses = Responses(connection)
        assert read_response(responses, "POST")[0] == 200
        assert _is_answer(responses)
        assert read_response(responses)[0] == 200
        # The last one never came as a whole.
        assert responses.makefile("rb").read() == b""


@pytest.mark.parametrize(
    "data", [b"", b"POST /v1", post(PREDICT, BODY)[:-1], chunked(PREDICT, [BODY])[:-2]]
)
def test_half_a_request_and_the_end_closes_at_once(server, data):
    with connect(server.rest_port, timeout=5) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""


@pytest.mark.parametrize("closes", [False, True])
def test_what_is_no_http_after_a_request_does_not_cost_its_answer(server, closes):
    with connect(server.rest_port) as connection:
        connection.sendall(post(PREDICT, SLOW) + post(PREDICT, BODY) + b"\x16\x03 nonsense\r\n\r\n")
        if closes:
            connection.shutdown(socket.SHUT_WR)
        responses = Responses(connection)
        assert read_response(responses, "POST")[0] == 200
        assert _is_answer(responses)
        assert read_response(responses)[0] == 400
        assert responses.makefile("rb").read() == b""


def test_a_refusal_reaches_a_client_that_is_still_sending(server):
    with connect(server.rest_port) as connection:
        # More than the server reads before it refuses.
        connection.sendall(b"GET /v1/models/m HTTP/1.1\r\nX: " + b"x" * (1 << 20))
        assert read_response(connection)[0] == 431
        assert connection.recv(1) == b""


@pytest.mark.parametrize("trailer", ["Content-Encoding: gzip", "X: y"])
def test_trailers_change_nothing(server, trailer):
    request = chunked(PREDICT, [BODY])[:-2] + f"{trailer}\r\n\r\n".encode()
    with connect(server.rest_port) as connection:
        connection.sendall(request + post(PREDICT, BODY))
        responses = Responses(connection)
        assert _is_answer(responses)
        assert _is_answer(responses)


def test_the_end_may_be_announced_after_the_body(server):
    with connect(server.rest_port) as connection:
        connection.sendall(chunked(PREDICT, [BODY])[:-2] + b"Connection: close\r\n\r\n")
        assert _is_answer(connection)
        assert connection.recv(1) == b""


@pytest.mark.parametrize(
    ("begin", "endless"), [(b"0\r\nX: ", b"x"), (b"0\r\n", b"X: y\r\n"), (b"1;", b"a=b;")]
)
def test_what_surrounds_a_body_has_a_bound(server, begin, endless):
    with connect(server.rest_port) as connection:
        connection.sendall(chunked(PREDICT, [BODY]).removesuffix(b"0\r\n\r\n") + begin)
        sent = 0
        while not select.select([connection], [], [], 0.005)[0]:
            connection.sendall(endless * 1000)
            sent += 1000 * len(endless)
        assert sent < 4 * MAX_HEAD_BYTES
        assert read_response(connection, "POST")[0] == 431


@pytest.mark.parametrize(
    "head",
    [
        "POST http://somewhere:80{path} HTTP/1.1\r\nhost: x\r\ncontent-length: 20\r\n\r\n",
        "POST {path} HTTP/1.1\r\nHOST: x\r\nCONTENT-LENGTH:20\r\nX-!#$%&'*+.^_`|~: \x80\r\n\r\n",
        "POST {path}?a=b HTTP/1.1\r\nHost: x\r\nContent-Length:   20   \r\nA:\r\n\r\n",
        "POST {path} HTTP/1.0\r\nContent-Length: 20\r\n\r\n",
        "POST {path} HTTP/1.0\r\nContent-Length: 20\r\nConnection: keep-alive\r\n\r\n",
        "POST {path} HTTP/1.0\r\nContent-Length: 20\r\nExpect: 100-continue\r\n\r\n",
        "\r\nPOST {path} HTTP/1.1\r\nContent-Length: 20\r\n\r\n",
    ],
)
def test_heads_of_all_kinds(server, head):
    request = head.format(path=PREDICT).encode("latin-1") + BODY
    status, _, body = exchange(server.rest_port, request, "POST")
    assert (status, json.loads(body)) == (200, ANSWER)


def test_a_body_that_was_never_asked_for_ends_the_connection(server):
    """The client may send it or not: what comes next cannot be told apart."""
    with connect(server.rest_port) as connection:
        head = f"POST {PREDICT} HTTP/1.1\r\nContent-Length: {1 << 40}\r\nExpect: 100-continue\r\n"
        connection.sendall(head.encode() + b"\r\n")
        status, headers, _ = read_response(connection, "POST")
        assert (status, headers["Connection"]) == (413, "close")
        assert connection.recv(1) == b""


def test_a_body_that_nobody_wants_does_not_hide_the_answer(server):
    with connect(server.rest_port) as connection:
        body = b"x" * (8 << 20)
        connection.sendall(post("/nowhere", body, "Connection: close"))
        assert read_response(connection, "POST")[0] == 404
        assert connection.recv(1) == b""


def test_a_client_that_takes_nothing_is_given_up(arithmetic):
    from serving.model_server.server import ModelServer, ServerOptions

    options = ServerOptions(
        port=None,
        rest_api_port=None,
        model_name="arithmetic",
        model_base_path=str(arithmetic),
        rest_api_read_timeout_in_ms=500,
    )
    body = json.dumps({"instances": [0.1234567] * 1_000_000}).encode()
    with ModelServer(options) as server, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 12)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", server.rest_port))
        connection.sendall(post(PREDICT, body, "Connection: close"))
        connection.recv(1, socket.MSG_PEEK)
        time.sleep(2)
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            read_response(Responses(connection), "POST")
            pytest.fail("The whole answer was there.")
