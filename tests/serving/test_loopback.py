"""A proxy in the environment, and connections of this machine with itself."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.proxies import VARIABLES, CountingProxy

ROOT = Path(__file__).parents[2]

ASK = """
import asyncio, json, sys
from serving.client import AsyncPredictClient, PredictClient, RetryPolicy
from serving.errors import ServingError

answers = {}
for address in sys.argv[1:]:
    with PredictClient(address, 20, retry=RetryPolicy(1)) as client:
        try:
            answers[address] = client.predict("arithmetic", {"x": [1.0]})["y"].tolist()
        except ServingError as error:
            answers[address] = str(error)

async def ask(address):
    async with AsyncPredictClient(address, 20) as client:
        return (await client.predict("arithmetic", {"x": [5.0]}))["y"].tolist()

answers["asyncio"] = asyncio.run(ask(sys.argv[1]))
print(json.dumps(answers))
"""

BYPASS = """
import json, os, sys
from serving.loopback import bypass_proxies

bypass_proxies()
names = ("no_proxy", "NO_PROXY", "no_grpc_proxy")
print(json.dumps({name: os.environ[name] for name in names if name in os.environ}))
"""

LOOPBACK = "localhost,127.0.0.1,127.0.0.0/8,::1,[::1]"


def run(program, *arguments, **variables):
    """What a program in a process of its own prints, with no proxies but those named."""
    clean = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=clean | variables,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("no_proxy", [{}, {"no_proxy": "example.org"}])
def test_the_client_reaches_loopback_without_a_proxy_and_others_with_it(server, no_proxy):
    port = server.grpc_port
    local = [f"127.0.0.1:{port}", f"localhost:{port}", f"dns:///localhost:{port}"]
    with CountingProxy() as proxy:
        answers = run(ASK, *local, "towers.invalid:8500", **proxy.environment, **no_proxy)
    assert [answers[address] for address in (*local, "asyncio")] == [[3.5], [3.5], [3.5], [5.5]]
    assert proxy.requests == ["CONNECT towers.invalid:8500 HTTP/1.1"]
    assert answers["towers.invalid:8500"].endswith(
        " The environment names a proxy in grpc_proxy; hosts in no_proxy are reached without it."
    )


@pytest.mark.parametrize(
    ("given", "then"),
    [
        ({}, {"no_proxy": LOOPBACK, "NO_PROXY": LOOPBACK}),
        (
            {"no_proxy": "localhost, a.org"},
            dict.fromkeys(("no_proxy", "NO_PROXY"), f"localhost,a.org{LOOPBACK[9:]}"),
        ),
        (
            {"no_proxy": "a.org,*"},
            dict.fromkeys(("no_proxy", "NO_PROXY"), f"a.org,*,{LOOPBACK}"),
        ),
        (
            {"NO_PROXY": "a.org"},
            dict.fromkeys(("no_proxy", "NO_PROXY"), f"a.org,{LOOPBACK}"),
        ),
        (
            {"no_proxy": "*", "no_grpc_proxy": "b.org"},
            {"no_proxy": "*", "NO_PROXY": "*", "no_grpc_proxy": f"b.org,{LOOPBACK}"},
        ),
    ],
)
@pytest.mark.parametrize("proxy", VARIABLES)
def test_loopback_joins_what_the_proxies_are_not_for(monkeypatch, proxy, given, then):
    from serving.loopback import bypass_proxies

    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv(proxy, "http://proxy.example.org:3128")
    # So that what is set below is taken back.
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    bypass_proxies()
    after = {name: value for name, value in os.environ.items() if name.lower().startswith("no_")}
    assert {name: after[name] for name in then} == then
    assert "no_grpc_proxy" not in after or "no_grpc_proxy" in then


def test_urllib_goes_to_loopback_without_a_proxy():
    script = (
        "import json, urllib.request\n"
        "from serving.loopback import bypass_proxies\n"
        "bypass_proxies()\n"
        "hosts = ('localhost:1', '127.0.0.1:1', '[::1]:1')\n"
        "print(json.dumps([bool(urllib.request.proxy_bypass(host)) for host in hosts]))"
    )
    for no_proxy in ("", "a.org", "a.org,*"):
        assert run(script, http_proxy="http://proxy.invalid:3128", no_proxy=no_proxy) == [True] * 3


def test_without_a_proxy_the_environment_stays_as_it_is():
    assert run(BYPASS) == {}
    assert run(BYPASS, no_proxy="a.org") == {"no_proxy": "a.org"}
