import errno
import socket

import pytest

from serving.model_server.addresses import bind, host_port


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("127.0.0.1", "127.0.0.1:8500"),
        ("localhost", "localhost:8500"),
        ("::1", "[::1]:8500"),
        ("::", "[::]:8500"),
    ],
)
def test_texts(host, text):
    assert host_port(host, 8500) == text


def _families_that_reach(host):
    """The loopback addresses on which sockets bound for `host` take connections."""
    listeners = bind(host, 0)
    port = listeners[0].getsockname()[1]
    reached = set()
    try:
        for listener in listeners:
            listener.listen()
        for address in ("127.0.0.1", "::1"):
            try:
                socket.create_connection((address, port), 5).close()
                reached.add(address)
            except ConnectionRefusedError:
                pass
    finally:
        for listener in listeners:
            listener.close()
    return reached


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ("127.0.0.1", {"127.0.0.1"}),
        ("::1", {"::1"}),
        ("0.0.0.0", {"127.0.0.1", "::1"}),
        ("::", {"127.0.0.1", "::1"}),
    ],
)
def test_families(host, reached):
    assert _families_that_reach(host) == reached


def test_a_name_means_all_its_addresses():
    known = {item[4][0] for item in socket.getaddrinfo("localhost", 0)}
    assert _families_that_reach("localhost") == known


@pytest.mark.parametrize("number", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
def test_a_machine_without_ipv6(monkeypatch, number):
    class NoIPv6(socket.socket):
        def __init__(self, family=-1, *arguments, **keywords):
            if family == socket.AF_INET6 and number == errno.EAFNOSUPPORT:
                raise OSError(number, "No IPv6 here")
            super().__init__(family, *arguments, **keywords)

        def bind(self, address):
            if self.family == socket.AF_INET6:
                raise OSError(number, "No IPv6 here")
            super().bind(address)

    monkeypatch.setattr(socket, "socket", NoIPv6)
    for host in ("0.0.0.0", "::"):
        (listener,) = bind(host, 0)
        with listener:
            assert (listener.family, listener.getsockname()[0]) == (socket.AF_INET, "0.0.0.0")
    with pytest.raises(OSError, match="No IPv6 here"):
        bind("::1", 0)


def test_a_port_that_is_taken_on_one_address():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        for host in ("127.0.0.1", "0.0.0.0", "::"):
            with pytest.raises(OSError, match="Address already in use"):
                bind(host, other.getsockname()[1])
