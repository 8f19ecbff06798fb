"""The generated arguments and files start a real server, and its probes answer."""

import contextlib
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from serving.client import PredictClient
from serving.client.model_config import ServedModelConfig
from serving.model_server.flags import Flags
from serving.model_server.options import ServerOptions
from serving.model_server.server import ModelServer
from serving.publish import roll_back
from serving.search import SearchService
from tests.ports import free_ports
from tests.serving.manifests.test_kserve import RUNTIME
from tests.serving.waiting import wait_until

COMMAND = str(Path(sys.executable).with_name("vlsearch-model-server"))
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def on_this_machine(arguments, files, folder, ports):
    """The same arguments, with the mounted configuration in `folder` and other ports."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    local = []
    for argument in arguments:
        flag, _, value = argument.partition("=")
        if flag in ports:
            argument = f"{flag}={ports[flag]}"
        elif value.startswith("/etc/vlsearch/"):
            argument = f"{flag}={folder}/{Path(value).name}"
        local.append(argument)
    return local


def status_of(url):
    try:
        with urllib.request.urlopen(url, timeout=20) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def probe(container, name, port):
    """The answer to one of the container's probes, as the kubelet asks for it."""
    get = container[name]["httpGet"]
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    assert get["port"] == "rest" and ports["rest"] == 8501
    return status_of(f"http://127.0.0.1:{port}{get['path']}")


@pytest.mark.slow
def test_a_pod_serves_the_volume_and_follows_what_is_published_there(
    deployed, release_root, publish, words, tmp_path
):
    objects = deployed(root=release_root)
    [container] = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    port, rest_port = free_ports(2)
    ports = {"--port": port, "--rest_api_port": rest_port}
    arguments = on_this_machine(container["args"], objects["files"], tmp_path / "etc", ports)
    assert len(arguments) == len(container["args"])
    process = subprocess.Popen([COMMAND, *arguments], stderr=subprocess.PIPE, text=True)
    try:
        with PredictClient(f"127.0.0.1:{port}") as client:
            client.wait_until_ready(timeout=120)
            assert [probe(container, name, rest_port) for name in PROBES] == [200, 200, 200]
            search = SearchService(release_root, client)
            publish(release_root, 2)
            wait_until(lambda: search.search(words[:1], 1) and search.release.version == 2)
            [[hit]] = search.search(words[:1], 1)
            assert hit.id == words[0] and hit.uri.startswith("version-2/")
            roll_back(release_root)
            wait_until(lambda: search.search(words[:1], 1) and search.release.version == 1)
        annotations = objects["Deployment"]["spec"]["template"]["metadata"]["annotations"]
        assert annotations["prometheus.io/port"] == "8501"
        url = f"http://127.0.0.1:{rest_port}{annotations['prometheus.io/path']}"
        with urllib.request.urlopen(url, timeout=20) as response:
            metrics = response.read().decode()
        assert ':tensorflow:serving:request_count{model_name="text_tower",status="OK"}' in metrics
        assert "batching_session:processed_batch_size" in metrics
    finally:
        process.terminate()
        _, log = process.communicate(timeout=60)
    assert process.returncode == 0, log


@contextlib.contextmanager
def server_with(arguments):
    """A server in this process, started with a command line."""
    parsed = Flags().parse(arguments)
    assert parsed.ok and not parsed.unknown
    values = {**parsed.values, "port": None, "rest_api_port": None, "max_num_load_retries": 0}
    with (
        ModelServer(ServerOptions(**values)) as server,
        PredictClient(f"127.0.0.1:{server.grpc_port}") as client,
    ):
        yield server, client


def test_a_root_that_is_mounted_elsewhere_is_served_from_there(deployed, release_root, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    objects = deployed(root=release_root, mount_path=str(elsewhere))
    [container] = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    release_root.rename(elsewhere)
    arguments = on_this_machine(container["args"], objects["files"], tmp_path / "etc", {})
    with server_with(arguments) as (server, client):
        assert [probe(container, name, server.rest_port) for name in PROBES] == [200, 200, 200]
        assert client.predict("text_tower", {"query": ["red shoe"]})["embedding"].shape == (1, 8)


def test_a_pod_whose_model_is_gone_is_not_ready_but_alive(deployed, release_root, tmp_path):
    objects = deployed(root=release_root)
    [container] = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    arguments = on_this_machine(container["args"], objects["files"], tmp_path / "etc", {})
    with server_with(arguments) as (server, client):
        shutil.rmtree(release_root / "text_tower" / "1")
        gone = ServedModelConfig("text_tower", str(release_root / "text_tower"), versions=[9])
        client.reload_config([gone])
        wait_until(lambda: probe(container, "readinessProbe", server.rest_port) == 404)
        assert probe(container, "livenessProbe", server.rest_port) == 200


def test_a_kserve_predictor_serves_its_tower(deployed, release_root, tmp_path):
    """Its arguments behind those of KServe's runtime, over a folder in place of /mnt/models."""
    objects = deployed("kserve", root=release_root)
    model = objects["InferenceService"]["spec"]["predictor"]["model"]
    tower = model["storageUri"].rpartition("/")[2]
    files = {
        name: text.replace("/mnt/models", str(release_root / tower))
        for name, text in objects["files"].items()
    }
    arguments = on_this_machine([*RUNTIME, *model["args"]], files, tmp_path / "etc", {})
    with server_with(arguments) as (server, client):
        # Under the tower's name, not that of the InferenceService.
        url = f"http://127.0.0.1:{server.rest_port}/v1/models"
        assert status_of(f"{url}/{tower}/versions/1") == 200
        assert status_of(f"{url}/vlsearch-serving-text-tower") == 404
        assert [s.state for s in client.model_status(tower)] == ["AVAILABLE"]
