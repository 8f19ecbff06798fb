import http.server
import json
import socket
import threading
import traceback

import grpc
import pytest

from serving.client import RetryPolicy, TlsConfig
from serving.errors import Code, ServingError, StatusError
from tests.serving.certificates import Authority

ONCE = RetryPolicy(attempts=1)


def _predict(client):
    return client.predict("m", {"x": [1.0]}, timeout=30)["x"].tolist()


def test_nobody_listens(make_client):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(StatusError) as caught:
        make_client(address, retry=ONCE).predict("m", {})
    assert caught.value.code == Code.UNAVAILABLE
    assert str(caught.value).startswith(f"No model server answers at {address} (failed to connect")
    assert str(caught.value).endswith(
        "Start one with `vlsearch serve ROOT`, or give the address of a running one."
    )
    with pytest.raises(StatusError, match=f"No model server answers at {address} after 2 attempts"):
        make_client(address, retry=RetryPolicy(2, 0.01)).predict("m", {})


def test_a_host_that_is_none(make_client):
    with pytest.raises(StatusError, match=r"No model server answers at nowhere\.invalid:8500"):
        make_client("nowhere.invalid:8500", retry=ONCE).predict("m", {})


def test_no_socket_there(make_client, tmp_path):
    address = f"unix:{tmp_path}/nothing.sock"
    with pytest.raises(StatusError, match="No model server answers at unix:"):
        make_client(address, retry=ONCE).predict("m", {})


def test_a_server_that_dies_is_not_said_to_have_answered(make_client, scripted):
    _, address = scripted(script=[(grpc.StatusCode.UNAVAILABLE, "failing over")])
    with pytest.raises(StatusError) as caught:
        _predict(make_client(address, retry=ONCE))
    assert str(caught.value) == f"failing over ({address}, UNAVAILABLE)"


def test_unix_socket(make_client, scripted, tmp_path):
    _, address = scripted(f"unix:{tmp_path}/grpc.sock")
    assert _predict(make_client(address)) == [1.0]


@pytest.mark.parametrize("address", ["localhost", "8500", ":8500", "host:port", "unix:", ""])
def test_address_that_is_none(make_client, address):
    with pytest.raises(ServingError, match=r"HOST:PORT .* or unix:PATH of its socket. Received"):
        make_client(address)


def test_an_http_port(make_client):
    """Answers to gRPC as REST servers do: the remedy is another port, not another server."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Silent)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        client = make_client(f"127.0.0.1:{server.server_port}", retry=ONCE)
        with pytest.raises(StatusError) as caught:
            client.predict("m", {})
        with pytest.raises(StatusError, match=r"was not ready within .* does not speak gRPC"):
            client.wait_until_ready(0.3)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert str(caught.value).startswith(
        f"What answers at {client.address} does not speak gRPC; this looks like an HTTP port"
    )
    assert str(caught.value).endswith(
        "Give the gRPC port: 8500 unless it was set otherwise, and `vlsearch serve` prints both."
    )


class _Silent(http.server.BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def test_metadata_goes_with_every_call(make_client, scripted):
    servicer, address = scripted()
    client = make_client(address, metadata={"X-Vlsearch-Secret": "sesame", "trace": "7"})
    _predict(client)
    client.predict("m", {"x": [1.0, 2.0]}, max_batch_size=1)
    assert len(servicer.metadata) == 3
    for metadata in servicer.metadata:
        assert (metadata["x-vlsearch-secret"], metadata["trace"]) == ("sesame", "7")


SECRET = "s3same"


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"authorization": f"Bearer {SECRET}\n"}, r"has a line break: strip\(\) what was"),
        ({"authorization": f"{SECRET}\r\nx: y"}, r"has a line break: strip\(\) what was"),
        ({"authorization": f"{SECRET}é"}, "visible ASCII characters and spaces only, and has othe"),
        ({"authorization": [SECRET]}, r"'authorization' .*must be a str\. Received: list"),
        ({"secret-bin": SECRET}, r"must be bytes\. Received: str"),
        ({f"authorization: {SECRET}": ""}, "one that begins with 'authorization'"),
        ([("authorization", SECRET)], r"is a mapping .* Received: list"),
    ],
)
def test_a_header_that_is_none_is_refused_and_not_shown(make_client, metadata, message):
    with pytest.raises(ServingError, match=message) as caught:
        make_client("127.0.0.1:1", metadata=metadata)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_binary_metadata(make_client, scripted):
    servicer, address = scripted()
    _predict(make_client(address, metadata={"trace-BIN": b"\x00\xff\n"}))
    assert servicer.metadata[0]["trace-bin"] == b"\x00\xff\n"


def test_a_closed_client(make_client, scripted):
    _, address = scripted()
    client = make_client(address)
    _predict(client)
    client.close()
    with pytest.raises(ServingError, match=r"was closed\. Make a new one"):
        _predict(client)


@pytest.fixture(scope="module")
def authority():
    return Authority("authority")


@pytest.fixture(scope="module")
def client_pair(authority):
    """Key and certificate of a client, PEM."""
    pair = authority.certificate("client")
    return pair.key.encode(), pair.certificate.encode()


@pytest.fixture(scope="module")
def server_pair(authority):
    """Key and certificate of a server at localhost and 127.0.0.1, PEM."""
    pair = authority.certificate("server")
    return pair.key.encode(), pair.certificate.encode()


def test_tls(make_client, scripted, authority, server_pair, tmp_path):
    _, address = scripted(credentials=grpc.ssl_server_credentials([server_pair]))
    path = tmp_path / "root.pem"
    path.write_text(authority.root)
    for root in (authority.root.encode(), path, str(path)):
        assert _predict(make_client(address, tls=TlsConfig(root))) == [1.0]
    assert _predict(make_client(address, tls=TlsConfig(path, server_name="localhost"))) == [1.0]


def test_tls_refuses_a_server_that_it_does_not_know(make_client, scripted, authority, server_pair):
    _, address = scripted(credentials=grpc.ssl_server_credentials([server_pair]))
    root, other = authority.root.encode(), Authority("other").root.encode()
    unknown = [TlsConfig(), TlsConfig(other), TlsConfig(root, server_name="models.example")]
    for tls in (None, *unknown):
        with pytest.raises(StatusError) as caught:
            _predict(make_client(address, tls=tls, retry=ONCE))
        assert caught.value.code == Code.UNAVAILABLE


def test_mutual_tls(make_client, scripted, authority, server_pair, client_pair):
    root = authority.root.encode()
    credentials = grpc.ssl_server_credentials([server_pair], root, require_client_auth=True)
    _, address = scripted(credentials=credentials)
    assert _predict(make_client(address, tls=TlsConfig(root, *client_pair))) == [1.0]
    with pytest.raises(StatusError) as caught:
        _predict(make_client(address, tls=TlsConfig(root), retry=ONCE))
    assert caught.value.code == Code.UNAVAILABLE


def test_model_server_with_tls_a_secret_and_a_socket(
    make_client, authority, half_plus_two, tmp_path
):
    from serving.model_server.server import ModelServer, ServerOptions

    pair, member = authority.certificate("server"), authority.certificate("client")
    config = tmp_path / "ssl.config"
    config.write_text(
        f"server_key: {json.dumps(pair.key)} server_cert: {json.dumps(pair.certificate)} "
        f"custom_ca: {json.dumps(authority.root)} client_verify: true"
    )
    (tmp_path / "secret").write_text("sesame\n")
    tls = TlsConfig(
        authority.root.encode(), member.key.encode(), member.certificate.encode(), "localhost"
    )
    options = ServerOptions(
        port=None,
        rest_api_port=0,
        grpc_socket_path=str(tmp_path / "grpc.sock"),
        ssl_config_file=str(config),
        caller_secret_file=str(tmp_path / "secret"),
        model_name="m",
        model_base_path=str(half_plus_two),
    )
    with ModelServer(options) as server:
        for address in (f"127.0.0.1:{server.grpc_port}", f"unix:{tmp_path}/grpc.sock"):
            client = make_client(address, tls=tls, metadata={"X-Vlsearch-Secret": "sesame"})
            assert client.predict("m", {"x": [2.0]}, timeout=60)["y"] == [3.0]
            with pytest.raises(StatusError) as caught:
                make_client(address, tls=tls).predict("m", {"x": [2.0]}, timeout=60)
            assert caught.value.code == Code.UNAUTHENTICATED


def test_a_key_stays_out_of_texts(client_pair):
    assert "PRIVATE" not in repr(TlsConfig(None, *client_pair))


def test_half_of_a_key_pair(client_pair):
    key, certificate = client_pair
    with pytest.raises(ServingError, match="Received: only client_key"):
        TlsConfig(client_key=key)
    text = key.decode()
    with pytest.raises(ServingError, match=r"the content as str; encode\(\) it") as caught:
        TlsConfig(client_key=text, client_certificate=certificate).credentials()
    assert text[40:60] not in str(caught.value)
    with pytest.raises(ServingError, match="Received: only client_certificate"):
        TlsConfig(client_certificate=certificate)


def test_a_file_that_is_not_there(make_client, tmp_path):
    with pytest.raises(ServingError, match=r"root_certificates of TlsConfig: .*No such file"):
        make_client("127.0.0.1:1", tls=TlsConfig(tmp_path / "nothing.pem"))
