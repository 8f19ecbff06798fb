"""The pipeline with a hashing model of features on top of released towers."""

import re

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text

from serving.index import SearchIndex
from serving.release import Release
from tests.tfx_pipeline.conftest import vlsearch

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

_TOKENIZER_OPS = tensorflow_text  # registers what the text tower needs

CONFIG = """
name: hashed
data: {folder: given by --data, shorter_side: 40}
vocabulary: {size: 400}
model:
  system: ssah
  embedding_dim: 16
  feature_dim: 16
  label_hidden_width: 16
  bank_size: 64
  image: {kind: features, hidden_widths: [16], activation: relu}
  text: {kind: features, hidden_widths: [16], activation: relu}
input: {max_clicked_queries: 0}
zero_shot: null
train: {global_batch_size: 16, steps: 20, learning_rate: 1.0e-3}
evaluate: {bootstrap: {samples: 50}, report: {projection: pca}}
index: {kind: binary}
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "hashed.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def output(tiny_run, config, tmp_path_factory):
    """A second release, whose towers are those of the first with hash layers on top."""
    output = tmp_path_factory.mktemp("hashed")
    below = f"features.towers={tiny_run.output}"
    arguments = ["--config", str(config), "--data", str(tiny_run.data), "--output", str(output)]
    vlsearch("run", *arguments, "--set", below)
    return output


def signatures(root, tower):
    release = Release.load(root)
    loaded = tf.saved_model.load(str(root / tower / str(release.models[tower])))
    return loaded, loaded.signatures


def test_the_release_hashes_words_and_searches_codes(output):
    root = output / "serving"
    _kept, text = signatures(root, "text_tower")
    queries = tf.constant(["red heart", "狗"])
    embedding = text["encode_text"](query=queries)["embedding"].numpy()
    codes = text["hash_text"](query=queries)["code"].numpy()
    np.testing.assert_array_equal(codes, np.packbits(embedding >= 0, axis=1, bitorder="little"))

    index = SearchIndex.load(root / "index" / str(Release.load(root).index))
    assert index.description["kind"] == "binary"
    assert index.description["bits"] == 16
    for hits in index.search(embedding, 5):
        distances = [8 * (1.0 - hit.score) for hit in hits]
        assert distances == pytest.approx(sorted(round(d) for d in distances))


def test_an_image_finds_its_own_code(tiny_run, output):
    _kept, below = signatures(tiny_run.serving, "image_tower")
    _also_kept, image = signatures(output / "serving", "image_tower")
    pixels = tf.random.stateless_uniform([40, 40, 3], [1, 2], 0, 256, tf.int32)
    encoded = tf.stack([tf.io.encode_png(tf.cast(pixels, tf.uint8))])
    assert below["encode_image"](image_bytes=encoded)["embedding"].shape[1] == 32
    assert image["hash_image"](image_bytes=encoded)["code"].shape == (1, 2)


def test_the_release_answers_a_query(output):
    answer = vlsearch("query", "red heart", "-k", "3", "--release", str(output / "serving"))
    scores = re.findall(r"-?\d\.\d+", answer.stdout)
    assert len(scores) == 3


def test_without_towers_below_the_run_is_refused(tiny_run, config, tmp_path):
    arguments = ["--config", str(config), "--data", str(tiny_run.data), "--output", str(tmp_path)]
    refused = vlsearch("run", *arguments, check=False)
    assert refused.returncode == 2
    assert "Name the exported towers that make features of them" in refused.stderr
