"""A service with the usual settings, shared by the tests of a file that change nothing in it."""

import httpx
import pytest

from serving.gateway.server import GatewayServer, open_gateway
from serving.gateway.settings import GatewaySettings


@pytest.fixture(scope="module")
def client(shop_root):
    """A client of a service with the usual settings, for tests that change nothing in it."""
    with (
        open_gateway(shop_root, GatewaySettings()) as gateway,
        GatewayServer(gateway, access_log=None) as server,
        httpx.Client(base_url=server.url, trust_env=False, timeout=30) as client,
    ):
        client.gateway = gateway
        yield client
