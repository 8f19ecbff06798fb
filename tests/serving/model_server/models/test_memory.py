"""Loading and unloading a model again and again leaves the process as large as it was."""

import os
import subprocess
import sys

import pytest

from serving.model_server.models.memory import release_memory, use_system_allocator

PROGRAM = """
import sys
from pathlib import Path
import numpy as np
import psutil
import tensorflow as tf
from serving.model_server.management.manager import Manager
from serving.model_server.models.memory import use_system_allocator
from serving.model_server.models.saved_model import SavedModel
from serving.model_server.management.servable import State

use_system_allocator()
folder, size, loads = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])

class Tower(tf.Module):
    def __init__(self):
        # Not zeros: pages that were never written are not resident.
        self.table = tf.Variable(tf.random.stateless_uniform([size // 1024, 256], [1, 2]))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, "row")])
    def encode(self, row):
        return {"embedding": tf.gather(self.table, row)}

tower = Tower()
tf.saved_model.save(tower, str(folder / "1"), {"serving_default": tower.encode})
del tower

manager = Manager(lambda name, version, path: SavedModel.load(path))
resident, loaded = [], []
for _ in range(loads):
    manager.set_aspired("m", {1: folder / "1"})
    manager.wait_until_ready(["m"])
    with manager.use("m") as entry:
        signature = entry.model.signatures["serving_default"]
        entry.model.run(
            {signature.inputs["row"].name: np.arange(size // 1024, dtype=np.int32)},
            [signature.outputs["embedding"].name],
        )
    loaded.append(psutil.Process().memory_info().rss)
    manager.set_aspired("m", {})
    with manager._changed:
        manager._changed.wait_for(lambda: manager.statuses("m")[0][1] == State.END)
    resident.append(psutil.Process().memory_info().rss)
print(*loaded)
print(*resident)
"""


@pytest.mark.slow
def test_resident_memory_stays_where_it_was_after_the_fifth_load(tmp_path):
    """In a process of its own: other tests would be measured, too."""
    # Above 32 MiB the C library maps a block on its own, and keeps no hole where it was.
    size = 64 * 2**20
    output = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), str(size), "20"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    loaded, resident = [[int(v) for v in line.split()] for line in output.splitlines()]
    assert len(resident) == 20
    assert max(resident[5:]) < 1.1 * resident[4]
    # The bound that does not depend on how large TensorFlow is: a third of a model in 15 loads.
    assert resident[-1] - resident[4] < 20 * 2**20
    # And what a model takes is given back when it goes.
    assert loaded[-1] - resident[-1] > 0.8 * size


ARENAS = """
import ctypes, threading
from serving.model_server.models.memory import limit_arenas

limit_arenas()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
ready = threading.Barrier(65)

def work():
    libc.malloc(2000)
    ready.wait()

for _ in range(64):
    threading.Thread(target=work).start()
ready.wait()
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(b"/dev/stdout", b"w"))
libc.malloc_info(0, file)
libc.fflush(file)
"""


def test_threads_share_heaps():
    cores = min(65, max(2, len(os.sched_getaffinity(0))))
    for variables, expected in (({}, cores), ({"MALLOC_ARENA_MAX": "5"}, 5)):
        environment = {**os.environ, **variables}
        if not variables:
            environment.pop("MALLOC_ARENA_MAX", None)
        information = subprocess.run(
            [sys.executable, "-c", ARENAS],
            env=environment,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout
        assert information.count("<heap nr=") == expected


def test_releasing_memory_again_is_harmless():
    release_memory()
    release_memory()


@pytest.mark.parametrize(("before", "after"), [(None, "1"), ("0", "0")])
def test_the_choice_of_the_allocator_is_left_to_who_made_one(monkeypatch, before, after):
    name = "TF_ONEDNN_USE_SYSTEM_ALLOCATOR"
    monkeypatch.setenv(name, before or "")
    if before is None:
        monkeypatch.delenv(name)
    use_system_allocator()
    assert os.environ[name] == after
