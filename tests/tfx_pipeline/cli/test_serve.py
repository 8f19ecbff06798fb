"""`vlsearch serve` as people meet it: real processes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from serving.client import PredictClient
from serving.publish import publish_release
from tests.tfx_pipeline.conftest import REPOSITORY, VLSEARCH

# Stands where TensorFlow Serving would be, and notes what it was started with.
STAND_IN = """#!{python}
import json, os, sys
with open({record!r}, "w") as file:
    json.dump({{"argv": sys.argv[1:], "pid": os.getpid()}}, file)
sys.exit(7)
"""


def _publish(root: Path, parts: Path, save) -> Path:
    """A release whose towers `save` writes."""
    towers = {name: parts / name for name in ("text_tower", "image_tower")}
    for folder in towers.values():
        save(folder)
    index = parts / "index"
    index.mkdir()
    (index / "index.json").write_text(json.dumps({"tower_version": None, "count": 1}))
    (index / "index.faiss").write_text("")
    publish_release(root, 1, towers, index, metrics={"recall@10": 0.5})
    return root


@pytest.fixture
def root(tmp_path) -> Path:
    """A release of folders that look like SavedModels, for what does not open them."""

    def save(folder):
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").write_text(folder.name)

    return _publish(tmp_path / "root", tmp_path / "parts", save)


@pytest.fixture
def tf_serving(tmp_path, monkeypatch):
    """(root, arguments) -> (process id of vlsearch, exit code, what the program was given)."""
    folder, record = tmp_path / "bin", tmp_path / "record.json"
    folder.mkdir()
    program = folder / "tensorflow_model_server"
    program.write_text(STAND_IN.format(python=sys.executable, record=str(record)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)

    def run(root, *arguments):
        command = [VLSEARCH, "serve", str(root), "--engine", "tf-serving", *arguments]
        process = subprocess.Popen(command, cwd=REPOSITORY)
        code = process.wait(60)
        return process.pid, code, json.loads(record.read_text())

    return run


def _serve(*arguments, **options):
    return subprocess.run(
        [VLSEARCH, "serve", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=60,
        **options,
    )


def test_tf_serving_replaces_the_process(root, tf_serving):
    pid, code, given = tf_serving(root)
    assert (pid, code) == (given["pid"], 7)
    assert given["argv"] == [
        "--port=8500",
        "--rest_api_port=8501",
        f"--model_config_file={root}/models.config",
        "--model_config_file_poll_wait_seconds=1",
    ]


def test_tf_serving_gets_what_was_asked_for(root, tf_serving):
    _, _, given = tf_serving(
        root,
        *("--host", "0.0.0.0", "--port", "1", "--rest-port", "0", "--grpc-socket-path", "/s"),
        *("--enable-batching", "--batching-parameters-file", "/b"),
        *("--monitoring-config-file", "/m", "--ssl-config-file", "/t"),
    )
    assert given["argv"] == [
        "--port=1",
        "--grpc_socket_path=/s",
        "--rest_api_port=0",
        f"--model_config_file={root}/models.config",
        "--model_config_file_poll_wait_seconds=1",
        "--enable_batching=true",
        "--batching_parameters_file=/b",
        "--monitoring_config_file=/m",
        "--ssl_config_file=/t",
    ]


def test_tf_serving_that_is_not_there(root, tmp_path):
    done = _serve(root, "--engine", "tf-serving", env={**os.environ, "PATH": str(tmp_path)})
    assert done.returncode == 2
    assert (
        "--engine tf-serving needs tensorflow_model_server, which is not on the PATH. Install the "
        "package tensorflow-model-server, or run the image tensorflow/serving with --port=8500 "
    ) in done.stderr


def test_tf_serving_cannot_listen_on_one_address(root, tmp_path):
    program = tmp_path / "tensorflow_model_server"
    program.write_text("#!/bin/sh\nexit 7\n")
    program.chmod(0o755)
    done = _serve(
        *(root, "--engine", "tf-serving", "--host", "127.0.0.1"),
        env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
    )
    assert done.returncode == 2
    assert "listens on all addresses and cannot be told otherwise" in done.stderr
    assert "Received: --host 127.0.0.1." in done.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--port", "0"], "At least one of server_options.grpc_port or"),
        (
            ["--batching-parameters-file", "f"],
            "server_options.batching_parameters_file is set without setting "
            "server_options.enable_batching to true.",
        ),
        (["--engine", "other"], "'other' is not one of 'embedded'"),
    ],
)
def test_wrong_options(root, arguments, text):
    done = _serve(root, *arguments)
    assert done.returncode == 2
    assert text in " ".join(done.stderr.split())


def test_tf_serving_is_refused_a_root_that_was_moved_until_it_is_repaired(
    root, tf_serving, monkeypatch
):
    moved = root.rename(root.with_name("moved"))
    done = _serve(moved, "--engine", "tf-serving")
    assert done.returncode == 2
    assert f"{moved}/models.config does not name release 1 of {moved}, but models in {root}:" in (
        " ".join(done.stderr.split())
    )
    assert "`vlsearch serving repair ROOT` writes it anew." in done.stderr
    monkeypatch.setenv("HOME", str(moved.parent))
    repaired = subprocess.run(
        [VLSEARCH, "serving", "repair", "~/moved"],
        capture_output=True, text=True, cwd=REPOSITORY, check=True,
    )  # fmt: skip
    assert repaired.stdout == "~/moved: models.config names release 1 here.\n"
    _, code, given = tf_serving("~/moved")
    assert code == 7
    assert f"--model_config_file={moved}/models.config" in given["argv"]
    assert f'base_path: "{moved}/text_tower"' in (moved / "models.config").read_text()


def test_a_damaged_tower_is_told_at_once(root):
    path = root / "image_tower" / "1" / "saved_model.pb"
    path.write_text("image_t0wer")
    for engine in ("embedded", "tf-serving"):
        done = _serve(root, "--engine", engine)
        assert done.returncode == 2
        assert f"{path} is damaged: release 1 lists the SHA-256" in done.stderr


@pytest.mark.parametrize("engine", ["embedded", "tf-serving"])
def test_a_root_without_a_release(tmp_path, engine):
    done = _serve(tmp_path, "--engine", engine)
    assert done.returncode == 2
    assert f"{tmp_path} is not a release root: it has no release.json." in done.stderr


@pytest.mark.slow
def test_the_embedded_server_says_where_it_listens_serves_and_drains(tmp_path):
    import tensorflow as tf

    def save(folder):
        module = tf.Module()
        signature = [tf.TensorSpec([None], tf.float32, "x")]
        module.double = tf.function(lambda x: {"y": 2.0 * x}, input_signature=signature)
        tf.saved_model.save(module, str(folder), {"serving_default": module.double})

    root = _publish(tmp_path / "root", tmp_path / "parts", save)
    socket_path = tmp_path / "s"
    arguments = [*("--port", "0", "--rest-port", "0"), *("--grpc-socket-path", str(socket_path))]
    process = subprocess.Popen(
        [VLSEARCH, "serve", str(root), *arguments],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line == f"Serving {root}: gRPC unix:{socket_path}. Ctrl-C stops.\n"
        with PredictClient(f"unix:{socket_path}") as client:
            assert client.predict("text_tower", {"x": [3.0]})["y"] == [6.0]
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
