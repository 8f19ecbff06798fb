"""What the API's own description allows, and what it does not: never an answer of 500."""

import pytest

schemathesis = pytest.importorskip("schemathesis")


@pytest.mark.slow
def test_nothing_that_openapi_describes_fails(shop_root, tmp_path):
    """Bounded here; `benchmarks/fuzz_gateway.py` goes on for as long as it is told."""
    from hypothesis import HealthCheck, given, settings

    from serving.gateway.server import GatewayServer, open_gateway
    from serving.gateway.settings import ClickLogSettings, GatewaySettings

    log = ClickLogSettings(tmp_path)
    with (
        open_gateway(shop_root, GatewaySettings(log=log)) as gateway,
        GatewayServer(gateway, access_log=None) as server,
    ):
        schema = schemathesis.openapi.from_url(f"{server.url}openapi.json")
        asked = 0
        for operation in schema.get_all_operations():
            strategy = operation.ok().as_strategy()

            @given(case=strategy)
            @settings(
                max_examples=40,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            def answers(case):
                nonlocal asked
                asked += 1
                response = case.call()
                assert response.status_code < 500, (case.as_curl_command(), response.text)

            answers()
    assert asked > 200
