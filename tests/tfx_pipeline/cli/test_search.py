"""`vlsearch search` as people meet it: real processes."""

import contextlib
import re
import signal
import subprocess

import httpx
import pytest

from serving.gateway.click_log.closed_files import closed_files
from tests.ports import free_ports
from tests.tfx_pipeline.conftest import REPOSITORY, VLSEARCH, vlsearch

ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/")


@contextlib.contextmanager
def searching(root, *options):
    """The command in a process of its own; yields a client, and the process with what it told."""
    command = [VLSEARCH, "search", str(root), "--port", "0", *map(str, options)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    try:
        process.told = process.stdout.readline() + process.stdout.readline()
        url = ADDRESS.search(process.told)[0]
        with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
            yield client, process
    finally:
        process.kill()
        process.communicate()


def test_it_says_where_it_is_and_closes_its_log_when_it_is_told_to_stop(shop_root, tmp_path):
    folder = tmp_path / "clicks"
    with searching(shop_root, "--log-to", folder) as (client, process):
        assert f"Searching release 1 of {shop_root}: http://127.0.0.1:" in process.told
        assert f"Clicks are recorded in {folder}." in process.told
        answer = client.post("/v1/search", json={"query": "red shoe"}).json()
        event = {"token": answer["token"], "id": "red-shoe"}
        assert client.post("/v1/events", json=event).json() == {"recorded": True}
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    assert len(list(closed_files(folder))) == 1


def test_secrets_come_from_files(shop_root, tmp_path):
    (tmp_path / "token").write_text("of more than sixteen\n")
    with searching(shop_root, "--token-file", tmp_path / "token") as (client, process):
        assert "Clicks are not recorded." in process.told
        assert client.post("/v1/search", json={"query": "red shoe"}).status_code == 401
        right = {"Authorization": "Bearer of more than sixteen"}
        answer = client.post("/v1/search", json={"query": "red shoe"}, headers=right)
        assert answer.json()["token"] is None
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0


def test_what_cannot_be_started(shop_root, tmp_path):
    [port] = free_ports(1)
    (tmp_path / "short").write_text("short")
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        for options, message in (
            (["--port", port], f"127.0.0.1:{port} cannot be listened on: address already in use"),
            (["--explore", 0.1], "say how to log: give --log-to"),
            (["--no-log", "--log-to", tmp_path], "--log-to and --no-log exclude each other"),
            (["--log-to", tmp_path, "--log-without", "("], "takes regular expressions"),
            (["--token-file", tmp_path / "short"], "at least 16 characters"),
            (["--server", "a:1", "--server", "b:1"], "Several --server are addresses such as"),
        ):
            result = vlsearch("search", str(shop_root), *map(str, options), check=False)
            assert result.returncode == 2, options
            assert message in " ".join(result.stderr.split())
    result = vlsearch("search", str(tmp_path), check=False)
    assert result.returncode == 2 and "is not a release root" in result.stderr


@pytest.mark.slow
def test_it_uses_a_model_server_that_is_there(shop_root):
    from serving.search import embedded_server

    with (
        embedded_server(shop_root) as towers,
        searching(shop_root, "--server", towers.address) as (client, _),
    ):
        answer = client.post("/v1/search", json={"query": "tea pot", "k": 1}).json()
        assert [hit["id"] for hit in answer["hits"]] == ["tea-pot"]
