"""A release as its users see it: what a server answers, and what is in it."""

import contextlib
import signal
import socket
import time

import numpy as np
import pytest

from serving.index import SearchIndex
from serving.release import Release
from tests import preloaded
from tests.ports import free_ports
from tests.tfx_pipeline.conftest import REPOSITORY, VLSEARCH

QUERIES = ["red heart", "smiling face", "笑脸", "狗"]


@contextlib.contextmanager
def served(root):
    """`vlsearch serve` in a process of its own; yields its gRPC and REST ports."""
    ports = free_ports(2)
    command = [VLSEARCH, "serve", str(root), "--port", str(ports[0]), "--rest-port", str(ports[1])]
    process = preloaded.Process(command, cwd=REPOSITORY)
    try:
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", ports[1])):
                break
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.2)
        yield ports
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()


def content(root):
    """What a release answers with, whatever its files look like: vectors, items, metrics."""
    import tensorflow as tf
    import tensorflow_text  # noqa: F401

    release = Release.load(root)
    tower = tf.saved_model.load(str(root / "text_tower" / str(release.models["text_tower"])))
    texts = tower.signatures["encode_text"](query=tf.constant(QUERIES))["embedding"].numpy()
    index_dir = root / "index" / str(release.index)
    hits = SearchIndex.load(index_dir).search(texts, 10)
    return release, texts, [[(hit.id, hit.score) for hit in row] for row in hits]


def assert_same_content(one, other):
    """Equal releases but for the version: the same numbers, though trained and written twice."""
    assert one[0].metrics == pytest.approx(other[0].metrics, nan_ok=True)
    np.testing.assert_allclose(one[1], other[1], atol=1e-5)
    for row, other_row in zip(one[2], other[2]):
        assert [hit for hit, _ in row] == [hit for hit, _ in other_row]
