"""Tiny real SavedModels, a release made of them, and a real server on real sockets."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.serving.models import sleep
from tests.serving.shop import publish_shop, serve, shop, shop_root  # noqa: F401 -- fixtures

WORDS = ["red shoe", "blue bag", "猫", "bicycle", "tea pot"]
DIMENSION = 8
BUCKETS = 1024


def _table(version: int) -> np.ndarray:
    """Unit-norm rows that differ from version to version."""
    table = np.random.default_rng(version).normal(size=(BUCKETS, DIMENSION))
    return (table / np.linalg.norm(table, axis=1, keepdims=True)).astype(np.float32)


def _save_arithmetic(folder: Path, version: int) -> None:
    import tensorflow as tf

    class Arithmetic(tf.Module):
        """y = x / 2 + 1 + version, and signatures of other shapes and types."""

        def __init__(self):
            self.half = tf.Variable(0.5)
            self.offset = tf.Variable(1.0 + version)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def linear(self, x):
            return {"y": x * self.half + self.offset}

        @tf.function(
            input_signature=[
                tf.TensorSpec([None], tf.float32, "a"),
                tf.TensorSpec([None], tf.float32, "b"),
            ]
        )
        def pair(self, a, b):
            return {"sum": a + b, "difference": a - b}

        @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, "x")])
        def matrix(self, x):
            return {"doubled": 2.0 * x, "size": tf.size(x)}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "s")])
        def text(self, s):
            return {"upper": tf.strings.upper(s), "raw_bytes": s}

        @tf.function(
            input_signature=[
                tf.TensorSpec([None], tf.int64, "i"),
                tf.TensorSpec([None], tf.bool, "flag"),
            ]
        )
        def typed(self, i, flag):
            return {"i": i + 1, "flag": tf.logical_not(flag), "half": tf.cast(i, tf.float16)}

        @tf.function(input_signature=[tf.TensorSpec([], tf.float32, "seconds")])
        def slow(self, seconds):
            start = tf.timestamp()
            with tf.control_dependencies([start]):
                return {"seconds": sleep(seconds) - start}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def positive(self, x):
            with tf.control_dependencies([tf.debugging.assert_positive(x, "x must be positive")]):
                return {"y": tf.identity(x)}

    module = Arithmetic()
    names = ("pair", "matrix", "text", "typed", "slow", "positive")
    signatures = {name: getattr(module, name) for name in names}
    tf.saved_model.save(module, str(folder), {"serving_default": module.linear, **signatures})


def _save_tower(folder: Path, version: int, kind: str) -> None:
    import tensorflow as tf
    import tensorflow_text as tf_text

    argument = "query" if kind == "encode_text" else "image_bytes"

    class Tower(tf.Module):
        """Looks the hash of its input up in a table: equal inputs have equal embeddings."""

        def __init__(self):
            self.table = tf.Variable(_table(version))

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, argument)])
        def encode(self, value):
            # An operator of TF Text, as real towers have: plain TensorFlow cannot load the graph.
            folded = tf_text.case_fold_utf8(value)
            return {
                "embedding": tf.gather(self.table, tf.strings.to_hash_bucket_fast(folded, BUCKETS))
            }

    tower = Tower()
    tf.saved_model.save(tower, str(folder), {"serving_default": tower.encode, kind: tower.encode})


@pytest.fixture(scope="session")
def arithmetic(tmp_path_factory) -> Path:
    """Base path of a model with the versions 1 and 2."""
    base = tmp_path_factory.mktemp("arithmetic")
    for version in (1, 2):
        _save_arithmetic(base / str(version), version)
    return base


@pytest.fixture(scope="session")
def release_parts(tmp_path_factory):
    """(version) -> (towers, index folder) to publish, made once per version."""
    from serving.index import build_index

    base = tmp_path_factory.mktemp("release_parts")

    def parts(version: int) -> tuple[dict[str, Path], Path]:
        import tensorflow as tf

        folder = base / str(version)
        towers = {"text_tower": folder / "text", "image_tower": folder / "image"}
        if not folder.exists():
            _save_tower(towers["text_tower"], version, "encode_text")
            _save_tower(towers["image_tower"], version, "encode_image")
            rows = tf.strings.to_hash_bucket_fast(WORDS, BUCKETS).numpy()
            uris = [f"version-{version}/{word}" for word in WORDS]
            build_index(_table(version)[rows], WORDS, uris, folder / "index", tower_version=version)
        return towers, folder / "index"

    return parts


@pytest.fixture
def publish(release_parts):
    """(root, version) -> the published Release."""
    from serving.publish import publish_release

    def publish(root: Path, version: int):
        towers, index = release_parts(version)
        return publish_release(root, version, towers, index, metrics={"recall@10": 0.5})

    return publish


@pytest.fixture
def release_root(tmp_path, publish) -> Path:
    """A root with release 1."""
    publish(tmp_path / "release", 1)
    return tmp_path / "release"


@pytest.fixture(scope="session")
def words() -> list[str]:
    return WORDS


@pytest.fixture(scope="session")
def server(arithmetic, release_parts, tmp_path_factory):
    """A ready server: `arithmetic` 1 (label stable) and 2 (label canary), and `text_tower` 7."""
    from serving.model_server.server import ModelServer, ServerOptions

    root = tmp_path_factory.mktemp("server")
    towers, _ = release_parts(1)
    shutil.copytree(towers["text_tower"], root / "text_tower" / "0007")
    (root / "models.config").write_text(
        f"""model_config_list {{
          config {{ name: "arithmetic" base_path: "{arithmetic}" model_platform: "tensorflow"
                   model_version_policy {{ specific {{ versions: 1 versions: 2 }} }}
                   version_labels {{ key: "stable" value: 1 }}
                   version_labels {{ key: "canary" value: 2 }} }}
          config {{ name: "text_tower" base_path: "{root}/text_tower"
                   model_platform: "tensorflow" }} }}"""
    )
    options = ServerOptions(
        port=None,
        rest_api_port=None,
        model_config_file=str(root / "models.config"),
        allow_version_labels_for_unavailable_models=True,
        max_num_load_retries=0,
    )
    with ModelServer(options) as server:
        yield server
