"""ClickExampleGen's graph over the portable protocol, with worker processes of their own.

Beam's local job service takes the place of a cluster's, and its worker pool is the very program
that runs beside the task managers of Flink. User code reaches the workers as it would there.
"""

import contextlib
import importlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import apache_beam as beam
import psutil
import pytest

from tests.ports import free_ports
from tests.tfx_pipeline.beam_graphs import package_alone
from tfx_pipeline.data.beam_options import default_beam_args, resolve_beam_args
from tfx_pipeline.data.emoji import write_emoji
from tfx_pipeline.data.examples import materialize_examples
from tfx_pipeline.data.folder import DataFolder

_HERE = Path(__file__).resolve().parent
# Beam's own servers listen on every interface; those of a test do not.
_ON_LOOPBACK = """
import grpc

make = grpc.server

def server(*arguments, **named):
    made = make(*arguments, **named)
    listen = made.add_insecure_port
    made.add_insecure_port = lambda address: listen(address.replace("[::]:", "127.0.0.1:"))
    return made

grpc.server = server
"""
_NEEDED_BY_TFX = "tfx_bsl.arrow.sql_util"


@contextlib.contextmanager
def running(module, *arguments, port, folder):
    """A module of Beam as a process that listens at a port; yields the file of its messages."""
    log = folder / f"{module}.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", f"apache_beam.runners.{module}", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(folder / "site")},
            stdout=stream,
            stderr=stream,
        )
    try:
        for _ in range(600):
            assert process.poll() is None, log.read_text("utf-8", "replace")
            with contextlib.suppress(OSError), socket.create_connection(("localhost", port)):
                break
            time.sleep(0.1)
        yield log
    finally:
        process.terminate()
        process.wait(30)


def contents(folder):
    """Bytes of all files, by their places in the folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.slow
def test_worker_processes_write_the_same_bytes(tmp_path):
    data = tmp_path / "data"
    write_emoji(data, limit=12, impressions=500)
    folder = DataFolder.load(data)
    config = folder.example_config(shards=2)
    site = package_alone(tmp_path / "site")
    (site / "sitecustomize.py").write_text(_ON_LOOPBACK, encoding="utf-8")
    materialize_examples(folder, tmp_path / "here", config, beam_args=default_beam_args())

    boot = tmp_path / "boot"
    boot.write_text(f'#!/bin/sh\nexec {sys.executable} -P {_HERE}/boot_beam_worker.py "$@"\n')
    boot.chmod(0o755)

    jobs, workers = free_ports(2)
    service = running(
        "portability.local_job_service_main", f"--port={jobs}", port=jobs, folder=tmp_path
    )
    pool = running(
        "worker.worker_pool_main",
        f"--service_port={workers}",
        f"--container_executable={boot}",
        port=workers,
        folder=tmp_path,
    )
    with service, pool as pool_log:
        arguments = resolve_beam_args(
            [
                "--runner=PortableRunner",
                f"--job_endpoint=localhost:{jobs}",
                "--environment_type=EXTERNAL",
                f"--environment_config=localhost:{workers}",
            ]
        )
        materialize_examples(folder, tmp_path / "there", config, beam_args=arguments)
        with beam.Pipeline(argv=arguments) as pipeline:
            seen = (
                pipeline
                | beam.Create([_NEEDED_BY_TFX])
                | beam.Map(lambda name: importlib.import_module(name).__name__)
            )
            _ = seen | beam.io.WriteToText(str(tmp_path / "seen"), shard_name_template="")
        addresses = {
            connection.laddr.ip
            for connection in psutil.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port in (jobs, workers)
        }
        assert addresses and addresses <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
        assert f"Starting worker with command ['{boot}'" in pool_log.read_text("utf-8")

    assert (tmp_path / "seen").read_text("utf-8").split() == [_NEEDED_BY_TFX]
    here, there = contents(tmp_path / "here"), contents(tmp_path / "there")
    assert {name for name in here if "Split-train" in name}
    assert there == here
