"""From a gallery to an index with image tokens, and the check that they are the reranker's."""

import json

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from serving.index import SearchIndex, build_index
from tests.tfx_pipeline.evaluation.conftest import (
    save_image_tower,
    save_text_tower,
    write_relevance,
)
from tests.tfx_pipeline.evaluation.test_evaluators import save_reranker
from tfx_pipeline.data.writers import make_example, record_writer
from tfx_pipeline.release.gallery_embeddings import (
    TokenReader,
    encode_gallery,
    read_embeddings,
    read_image_tokens,
)
from tfx_pipeline.release.validation import validate_serving
from vl_models import features
from vl_models.errors import UserError

COLORS = {"grey": (90, 90, 90), "red": (250, 10, 10), "blue": (10, 10, 250), "猫": (10, 250, 10)}


@pytest.fixture(scope="module")
def candidate(tmp_path_factory):
    """Members, gallery, clicks and an index with tokens, as `validate_serving` takes them."""
    root = tmp_path_factory.mktemp("candidate")
    names = ("text_tower", "image_tower", "reranker")
    members = {name: root / "models" / name for name in names}
    save_text_tower(members["text_tower"])
    save_image_tower(members["image_tower"])
    save_reranker(members["reranker"], tokens=True)
    (root / "gallery").mkdir()
    for shard, names in enumerate((["red", "猫"], ["grey", "blue"])):
        path = root / "gallery" / f"data_tfrecord-{shard:05d}-of-00002.gz"
        with record_writer(str(path)) as writer:
            for name in names:
                pixels = np.full((16, 16, 3), COLORS[name], np.uint8)
                values = {
                    features.IMAGE_ID: [name.encode()],
                    features.IMAGE_URI: [f"{name}.png".encode()],
                    features.IMAGE_ENCODED: [tf.io.encode_png(pixels).numpy()],
                }
                writer.write(make_example(values).SerializeToString())
    clicks = [(name, name, 1, 1.0, "test", "en") for name in COLORS]
    write_relevance(root / "relevance.parquet", clicks)
    reader = TokenReader(str(members["reranker"]), str(root / "tokens"))
    with beam.Pipeline() as pipeline:
        encode_gallery(
            pipeline,
            str(root / "gallery"),
            str(members["image_tower"]),
            str(root / "embeddings"),
            3,
            reader,
        )
    ids, uris, _, matrix = read_embeddings(root / "embeddings")
    tokens = read_image_tokens(root / "tokens", ids, 3)
    build_index(matrix, ids, uris, root / "index", image_tokens=tokens)
    return {
        "models_dir": root / "models",
        "index_dir": root / "index",
        "gallery_dir": root / "gallery",
        "relevance_path": root / "relevance.parquet",
        "queries": 4,
    }


def test_tokens_lie_in_the_order_of_the_items(candidate):
    index = SearchIndex.load(candidate["index_dir"])
    described = json.loads((candidate["index_dir"] / "index.json").read_text())["image_tokens"]
    assert described == {"reranker_version": None, "shape": [1, 3]}
    assert sorted(index.ids) == list(index.ids) == sorted(COLORS)
    expected = [[COLORS[name]] for name in index.ids]
    np.testing.assert_array_equal(index.image_tokens(range(4)), expected)


def test_what_is_served_is_what_was_exported_and_what_the_index_holds(candidate, tmp_path):
    assert validate_serving(**candidate, staging_dir=tmp_path / "staged") is None


def test_tokens_of_another_reranker_are_found_out(candidate, tmp_path):
    right = SearchIndex.load(candidate["index_dir"])
    vectors = np.eye(4, dtype=np.float32)
    wrong = np.array(right.image_tokens(range(4))) + np.float16(1)
    pieces = [(np.arange(4), wrong)]
    index = tmp_path / "index"
    build_index(vectors, right.ids, right.ids, index, image_tokens=pieces)
    # Said of the tokens only where the embeddings are right: here nobody searches.
    arguments = {**candidate, "index_dir": index, "models_dir": tmp_path / "models"}
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "reranker").symlink_to(candidate["models_dir"] / "reranker")
    problem = validate_serving(**arguments, staging_dir=tmp_path / "staged")
    assert problem.startswith("reranker, image tokens of the index: tokens: served and exported v")


def test_tokens_of_an_image_without_an_embedding(tmp_path):
    rows = {"id": ["a", "b"], "tokens": [np.zeros(6, np.float16).tobytes()] * 2}
    pq.write_table(pa.table(rows), tmp_path / "part-0.parquet")
    [(found, tokens)] = read_image_tokens(tmp_path, ["b", "a"], 3)
    assert found.tolist() == [1, 0] and tokens.shape == (2, 2, 3)
    with pytest.raises(UserError, match=r"part-0\.parquet: image tokens of 'b', which has no em"):
        list(read_image_tokens(tmp_path, ["a"], 3))
