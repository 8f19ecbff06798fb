"""Addresses as people write them."""

import pytest

from serving.client.address import parse_address
from serving.errors import ServingError


@pytest.mark.parametrize(
    ("text", "target", "is_local"),
    [
        ("127.0.0.1:8500", "127.0.0.1:8500", True),
        (" 127.0.0.1:8500\n", "127.0.0.1:8500", True),
        ("localhost:8500/", "localhost:8500", True),
        ("GRPC://LocalHost:1", "LocalHost:1", True),
        ("127.1:8500", "127.1:8500", True),
        ("0.0.0.0:65535", "0.0.0.0:65535", True),
        ("[::1]:8500", "[::1]:8500", True),
        ("[::ffff:127.0.0.1]:8500", "[::ffff:127.0.0.1]:8500", True),
        ("unix:grpc.sock", "unix:grpc.sock", True),
        ("unix:///run/a b.sock", "unix:///run/a b.sock", True),
        ("dns:///localhost:8500", "dns:///localhost:8500", True),
        ("ipv4:127.0.0.1:8500,127.0.0.2:8500", "ipv4:127.0.0.1:8500,127.0.0.2:8500", True),
        ("ipv4:127.0.0.1:8500,10.0.0.2:8500", "ipv4:127.0.0.1:8500,10.0.0.2:8500", False),
        ("dns://10.0.0.1/towers.search:8500", "dns://10.0.0.1/towers.search:8500", False),
        ("localhost.example.org:8500", "localhost.example.org:8500", False),
        ("text_tower:8500", "text_tower:8500", False),
        ("[2001:db8::1]:8500", "[2001:db8::1]:8500", False),
        ("128.0.0.1:8500", "128.0.0.1:8500", False),
    ],
)
def test_what_is_taken(text, target, is_local):
    address = parse_address(text)
    assert (address.target, address.is_local) == (target, is_local)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("127.0.0.1:99999", "A port is a number from 1 to 65535."),
        ("127.0.0.1:" + "9" * 5000, "A port is a number from 1 to 65535."),
        ("127.0.0.1:0", "A port is a number from 1 to 65535."),
        ("127.0.0.1:-1", "A port is a number from 1 to 65535."),
        ("localhost:８５００", "A port is a number from 1 to 65535."),
        ("localhost", "Give both host and port, such as localhost:8500."),
        ("[::1]", "Give both host and port, such as [::1]:8500."),
        ("grpc://localhost/", "Give both host and port, such as localhost:8500."),
        ("8500", "Give both host and port."),
        ("localhost：8500", "Give both host and port."),
        (
            "http://127.0.0.1:8501/v1/models",
            "Leave http:// out, and give the gRPC port (8500 by default), not the REST port.",
        ),
        (
            "HTTPS://towers:443",
            "Leave https:// out, and give the gRPC port (8500 by default) and `tls=TlsConfig(…)`.",
        ),
        ("tcp://towers:8500", "Leave tcp:// out."),
        ("grpc://towers:8500/v1", "Leave the path out."),
        ("::1:8500", "An IPv6 address needs brackets, such as [::1]:8500."),
        ("2001:db8::1", "An IPv6 address needs brackets, such as [::1]:8500."),
        ("my host:8500", "That is no name of a host."),
        ("a\x1b[2J:8500", "That is no name of a host."),
        ("[127.0.0.1]:8500", "That is no name of a host."),
        (":8500", "That is no name of a host."),
        (8500, "It must be a string."),
        (None, "It must be a string."),
        (b"localhost:8500", "It must be a string."),
    ],
)
def test_what_is_refused_and_how_it_should_be(text, remedy):
    with pytest.raises(ServingError) as caught:
        parse_address(text)
    assert str(caught.value) == (
        "The address of a model server is HOST:PORT of its gRPC port, such as 127.0.0.1:8500, or "
        f"unix:PATH of its socket. Received: address={text!r}. {remedy}"
    )


@pytest.mark.parametrize("start", ["", "grpc://", "http://", " https://"])
def test_a_password_is_not_repeated(start):
    with pytest.raises(ServingError) as caught:
        parse_address(f"{start}me:pa@ss\nword@host:8500")
    assert "pa@ss" not in str(caught.value)
    assert "word" not in str(caught.value).replace("password", "")
    assert f"'{start}…@host:8500'" in str(caught.value)
