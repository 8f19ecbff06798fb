import concurrent.futures
import gzip
import json
import select

import pytest

from serving.errors import ServingError
from serving.model_server.rest.http_protocol import MAX_HEAD_BYTES
from serving.model_server.server import ModelServer, ServerOptions
from tests.serving.sockets import Responses, chunked, connect, exchange, post, read_response

PREDICT = "/v1/models/arithmetic:predict"
BODY = b'{"instances": [1.0]}'
ANSWER = {"predictions": [3.5]}


def test_several_requests_on_one_connection(server):
    with connect(server.rest_port) as connection:
        for i in range(3):
            connection.sendall(post(PREDICT, b'{"instances": [%d]}' % i))
            status, headers, body = read_response(connection, "POST")
            assert (status, json.loads(body)) == (200, {"predictions": [i / 2 + 3]})
            assert headers["Connection"] is None
        # An error does not end the connection.
        connection.sendall(post(PREDICT, b"{"))
        assert read_response(connection, "POST")[0] == 400
        connection.sendall(post(PREDICT, BODY, "Connection: close"))
        assert json.loads(read_response(connection, "POST")[2]) == ANSWER
        assert connection.recv(1) == b""


def test_requests_sent_without_waiting_are_answered_in_order(server):
    with connect(server.rest_port) as connection:
        bodies = [b'{"instances": [%d]}' % i for i in range(5)]
        connection.sendall(b"".join(post(PREDICT, body) for body in bodies))
        responses = Responses(connection)
        for i in range(5):
            response = json.loads(read_response(responses, "POST")[2])
            assert response == {"predictions": [i / 2 + 3]}


def test_http_1_0_closes(server):
    with connect(server.rest_port) as connection:
        connection.sendall(b"GET /v1/models/arithmetic HTTP/1.0\r\n\r\n")
        assert read_response(connection)[0] == 200
        assert connection.recv(1) == b""


def test_chunked_body(server):
    status, _, body = exchange(
        server.rest_port, chunked(PREDICT, [BODY[:5], BODY[5:6], BODY[6:]]), "POST"
    )
    assert (status, json.loads(body)) == (200, ANSWER)


def test_chunked_gzip_body(server):
    zipped = gzip.compress(BODY)
    request = chunked(PREDICT, [zipped[:7], zipped[7:]], "Content-Encoding: gzip")
    assert json.loads(exchange(server.rest_port, request, "POST")[2]) == ANSWER


def test_body_that_arrives_byte_by_byte(server):
    with connect(server.rest_port) as connection:
        for byte in post(PREDICT, BODY):
            connection.sendall(bytes([byte]))
        assert json.loads(read_response(connection, "POST")[2]) == ANSWER


def test_expect_100_continue(server):
    with connect(server.rest_port) as connection:
        head, _, _ = post(PREDICT, BODY, "Expect: 100-continue").rpartition(b"\r\n\r\n")
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(BODY)
        assert json.loads(read_response(connection, "POST")[2]) == ANSWER


@pytest.mark.parametrize(
    ("encoding", "body", "error"),
    [
        ("gzip", b"no gzip", "JSON Parse error: The document is empty"),
        ("gzip", gzip.compress(BODY, mtime=0)[:-9], "JSON Parse error: The document is empty"),
        ("gzip", b"", "JSON Parse error: The document is empty"),
        # Another encoding is not looked at.
        ("br", b"\x0b\x02\x80", "JSON Parse error: Expecting value at offset: 0"),
    ],
)
def test_body_that_cannot_be_unpacked(server, encoding, body, error):
    request = post(PREDICT, body, f"Content-Encoding: {encoding}")
    status, _, answer = exchange(server.rest_port, request, "POST")
    assert (status, json.loads(answer)) == (400, {"error": error})


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate, gzip"])
def test_encodings_that_mention_gzip(server, encoding):
    request = post(PREDICT, gzip.compress(BODY), f"Content-Encoding: {encoding}")
    assert json.loads(exchange(server.rest_port, request, "POST")[2]) == ANSWER


def test_gzip_of_several_members(server):
    body = gzip.compress(BODY[:9]) + gzip.compress(BODY[9:])
    request = post(PREDICT, body, "Content-Encoding: gzip")
    assert json.loads(exchange(server.rest_port, request, "POST")[2]) == ANSWER


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE"])
def test_methods_that_have_no_route(server, method):
    request = f"{method} /v1/models/arithmetic HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    status, headers, body = exchange(server.rest_port, request)
    assert (status, headers["Content-Type"]) == (400, "application/json")
    assert json.loads(body) == {"error": f"Malformed request: {method} /v1/models/arithmetic"}


def test_head_is_no_get(server):
    with connect(server.rest_port) as connection:
        connection.sendall(b"HEAD /v1/models/arithmetic HTTP/1.1\r\nHost: x\r\n\r\n")
        status, headers, body = read_response(connection, "HEAD")
        assert (status, body) == (400, b"")
        assert int(headers["Content-Length"]) > 0
        # No body was sent, so that the connection goes on.
        connection.sendall(post(PREDICT, BODY))
        assert json.loads(read_response(connection, "POST")[2]) == ANSWER


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/v1/", 400, "Malformed request: GET /v1/"),
        ("/v1/models/", 400, "Malformed request: GET /v1/models/"),
        ("/V1/MODELS/arithmetic/", 400, "Malformed request: GET /V1/MODELS/arithmetic/"),
        ("/v1/models/a/versions/x", 400, "Malformed request: GET /v1/models/a/versions/x"),
        ("/v1/models/a/versions/-1", 400, "Malformed request: GET /v1/models/a/versions/-1"),
        ("/v1/models/a/versions/", 400, "Malformed request: GET /v1/models/a/versions/"),
        ("/v1/models/a:predict", 400, "Malformed request: GET /v1/models/a:predict"),
        ("/v1/models//metadata", 400, "Malformed request: GET /v1/models//metadata"),
        ("/v1/models/versions/1", 400, "Missing model name in request."),
        ("/v1/models/%41%2F%3a", 404, "Could not find any versions of model A/:"),
        ("/v1/models/%e7%8c%ab", 404, "Could not find any versions of model 猫"),
        ("/v1/models/%ff%zz", 404, "Could not find any versions of model \ufffd%zz"),
        ("/v1/models/a/versions/99999999999999999999", 400,
         "Failed to convert version: 99999999999999999999 to numeric."),
        ("/v1/models/a/versions/" + "9" * 5000, 400,
         f"Failed to convert version: {'9' * 5000} to numeric."),
        (f"/v1/models/a/versions/{'0' * 5000}1", 404, "Could not find version 1 of model a"),
        ("/v1/models/arithmetic/labels/st%61ble/metadata", 200, None),
        ("/v1/models/arithmetic/labels/nope/metadata", 400,
         "Unrecognized servable version label: nope"),
        ("/v1/models/arithmetic?a=/v1/models/x", 200, None),
        ("http://somewhere/v1/models/arithmetic", 200, None),
    ],
)  # fmt: skip
def test_get(server, path, status, error):
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    answer = exchange(server.rest_port, request)
    assert answer[0] == status
    if error:
        assert json.loads(answer[2]) == {"error": error}


@pytest.mark.parametrize("path", ["/", "/v1", "/v2/models/m", "/v1models", "/monitoring", "//v1/x"])
def test_outside_of_the_api(server, path):
    for method in ("GET", "POST", "OPTIONS"):
        request = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode()
        status, headers, body = exchange(server.rest_port, request)
        assert (status, headers["Content-Type"]) == (404, "text/html")
        assert body == (
            b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD>"
            b"<BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"
        )


@pytest.mark.parametrize(
    ("origin", "status"),
    [("https://a.b", 200), ("http://localhost:80", 200), ("null", 400), (None, 400)],
)
def test_preflight(server, origin, status):
    header = f"Origin: {origin}\r\n" if origin else ""
    request = f"OPTIONS {PREDICT} HTTP/1.1\r\nHost: x\r\n{header}\r\n".encode()
    answer = exchange(server.rest_port, request)
    assert (answer[0], answer[2]) == (status, b"")
    assert "Access-Control-Allow-Origin" not in answer[1]


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET /v1/models/\xe7 HTTP/1.1\r\n\r\n",
        b"GET * HTTP/1.1\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        post(PREDICT, BODY, "Content-Length: 3"),
        post(PREDICT, BODY).replace(b"20", b"-1"),
        post(PREDICT, BODY).replace(b"20", b"99999999999999999999"),
        post(PREDICT, BODY, "Transfer-Encoding: chunked"),
        chunked(PREDICT, [BODY]).replace(b"14\r\n", b"zz\r\n"),
    ],
)
def test_what_is_no_http_ends_its_own_connection(server, data):
    with connect(server.rest_port) as connection:
        connection.sendall(data)
        assert read_response(connection)[0] in (400, 404)
    assert json.loads(exchange(server.rest_port, post(PREDICT, BODY), "POST")[2]) == ANSWER


def test_a_head_without_end_is_refused(server):
    with connect(server.rest_port) as connection:
        connection.sendall(b"GET /v1/models/m HTTP/1.1\r\n")
        line = b"X-Header: " + b"x" * 1000 + b"\r\n"
        sent = 0
        while not select.select([connection], [], [], 0.005)[0]:
            connection.sendall(line)
            sent += len(line)
        assert MAX_HEAD_BYTES - 1000 < sent < 2 * MAX_HEAD_BYTES
        assert read_response(connection)[0] == 431
        assert connection.recv(1) == b""


def test_a_client_that_leaves_harms_nobody(server):
    for data in (post(PREDICT, BODY), post(PREDICT, BODY)[:-5], b"", b"POST /v1"):
        with connect(server.rest_port) as connection:
            connection.sendall(data)
    assert json.loads(exchange(server.rest_port, post(PREDICT, BODY), "POST")[2]) == ANSWER


def test_many_connections_at_once(server):
    def work(i):
        body = b'{"instances": [%d]}' % i
        return json.loads(exchange(server.rest_port, post(PREDICT, body), "POST")[2])

    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(work, range(128)))
    assert answers == [{"predictions": [i / 2 + 3]} for i in range(128)]


def test_fewer_threads_than_requests_and_cors(arithmetic):
    options = ServerOptions(
        port=None,
        rest_api_port=None,
        model_name="arithmetic",
        model_base_path=str(arithmetic),
        rest_api_num_threads=1,
        rest_api_enable_cors_support=True,
    )
    with ModelServer(options) as server:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            request = post(PREDICT, BODY)
            answers = list(pool.map(lambda _: exchange(server.rest_port, request), range(16)))
        for status, headers, body in answers:
            assert (status, json.loads(body)) == (200, ANSWER)
            assert headers["Access-Control-Allow-Origin"] == "*"
            assert headers["Access-Control-Allow-Methods"] == "POST, GET"
            assert headers["Access-Control-Allow-Headers"] == "Content-Type"
        error = exchange(server.rest_port, post(PREDICT, b"{"))
        assert (error[0], error[1]["Access-Control-Allow-Origin"]) == (400, "*")
        preflight = b"OPTIONS /v1/models/m HTTP/1.1\r\nHost: x\r\nOrigin: https://a.b\r\n\r\n"
        assert exchange(server.rest_port, preflight)[1]["Access-Control-Allow-Origin"] == "*"


def test_port_in_use(server):
    from serving.model_server.core import ServerCore
    from serving.model_server.rest.options import read_rest_options
    from serving.model_server.rest.server import RestServer

    core = ServerCore(ServerOptions())
    try:
        options = read_rest_options(ServerOptions(rest_api_port=server.rest_port))
        with pytest.raises(ServingError, match=rf"REST cannot listen on .*:{server.rest_port}: "):
            RestServer(core, options, 100)
    finally:
        core.stop()
