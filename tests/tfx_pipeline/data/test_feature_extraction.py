"""Features by exported towers: Examples anew, and data folders of features."""

import json
import re

import numpy as np
import pytest
import tensorflow as tf

from tests.tfx_pipeline.conftest import vlsearch
from tests.vl_models.test_export import TOKENIZER, make_model
from tfx_pipeline.data.feature_extraction import extract_examples, find_towers
from tfx_pipeline.data.feature_set import FeatureSet
from tfx_pipeline.data.folder import DataFolder
from tfx_pipeline.data.writers import make_example, record_writer
from vl_models import features as f
from vl_models.errors import UserError
from vl_models.export import export_members

TEXTS = (("red", "red cat"), (), ("猫",))


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def run(model, tmp_path_factory):
    """A run folder with the towers."""
    folder = tmp_path_factory.mktemp("run")
    export_members(model, TOKENIZER, folder / "towers")
    return folder


def pixels(number):
    half = tf.fill([8, 16, 3], tf.constant(40 * number, tf.uint8))
    return tf.concat([half, tf.fill([8, 16, 3], tf.constant(7, tf.uint8))], axis=0)


@pytest.fixture
def examples(tmp_path):
    folder = tmp_path / "examples"
    with record_writer(str(folder / "Split-train" / "data_tfrecord-00000-of-00001.gz")) as writer:
        for number, texts in enumerate(TEXTS):
            values = {
                f.IMAGE_ID: [b"image %d" % number],
                f.IMAGE_ENCODED: [tf.io.encode_png(pixels(number)).numpy()],
                f.QUERY_TEXT: [text.encode() for text in texts],
                f.LABEL_TEXT: [b"class"],
            }
            writer.write(make_example(values).SerializeToString())
    return folder


def read(folder):
    files = sorted(map(str, folder.glob("data_tfrecord-*")))
    for record in tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator():
        yield tf.train.Example.FromString(record).features.feature


def test_images_and_texts_become_the_towers_embeddings(model, run, examples, tmp_path):
    extract_examples(examples, find_towers(run), tmp_path / "out")
    found = list(read(tmp_path / "out" / "Split-train"))
    images = model.encode_image({"image": tf.stack([pixels(number) for number in range(3)])})
    for number, (values, texts) in enumerate(zip(found, TEXTS)):
        assert values[f.IMAGE_ID].bytes_list.value == [b"image %d" % number]
        assert values[f.LABEL_TEXT].bytes_list.value == [b"class"]
        assert f.IMAGE_ENCODED not in values
        np.testing.assert_allclose(
            values[f.IMAGE_FEATURES].float_list.value, images[number], atol=1e-5
        )
        vectors = np.reshape(values[f.QUERY_FEATURES].float_list.value, (len(texts), 4))
        if texts:
            expected = model.encode_text({**TOKENIZER.tokenize(tf.constant(texts))})
            np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_texts_alone_get_features_of_what_they_have(model, run, tmp_path):
    folder = tmp_path / "examples" / "Split-train-text-only"
    with record_writer(str(folder / "data_tfrecord-00000-of-00001.gz")) as writer:
        for text in ("red", "猫"):
            values = {
                f.IMAGE_ID: [b"text:" + text.encode()],
                f.QUERY_TEXT: [text.encode()],
                f.SOURCE_TYPE: [b"text_only"],
            }
            writer.write(make_example(values).SerializeToString())
    extract_examples(tmp_path / "examples", find_towers(run), tmp_path / "out")
    expected = model.encode_text({**TOKENIZER.tokenize(tf.constant(["red", "猫"]))})
    found = list(read(tmp_path / "out" / "Split-train-text-only"))
    assert len(found) == 2
    for values, vector in zip(found, expected):
        assert f.IMAGE_FEATURES not in values
        np.testing.assert_allclose(values[f.QUERY_FEATURES].float_list.value, vector, atol=1e-5)


def test_what_is_extracted_is_kept_until_the_towers_change(run, examples, tmp_path):
    towers, out = find_towers(run), tmp_path / "out"
    extract_examples(examples, towers, out)
    (shard,) = (out / "Split-train").iterdir()
    written = shard.stat().st_mtime_ns
    extract_examples(examples, towers, out)
    assert shard.stat().st_mtime_ns == written
    export_members(make_model(), TOKENIZER, tmp_path / "others")
    extract_examples(examples, find_towers(tmp_path / "others"), out)
    assert shard.stat().st_mtime_ns != written


def test_an_example_without_an_image_is_told_by_name(run, tmp_path):
    shard = tmp_path / "examples" / "Split-train" / "data_tfrecord-00000-of-00001.gz"
    with record_writer(str(shard)) as writer:
        writer.write(make_example({f.IMAGE_ID: [b"bare"]}).SerializeToString())
    with pytest.raises(UserError, match="The Example 'bare' has no image"):
        extract_examples(tmp_path / "examples", find_towers(run), tmp_path / "out")
    assert not (tmp_path / "out" / "extracted.json").exists()


def test_towers_are_found_in_runs_and_in_folders_of_both(run):
    assert find_towers(run) == find_towers(run / "towers")


def test_no_towers(tmp_path):
    with pytest.raises(
        UserError,
        match=re.escape(f"{tmp_path}: no SavedModel of image_tower and text_tower here."),
    ):
        find_towers(tmp_path)


@pytest.mark.slow
def test_a_folder_of_captions_becomes_one_of_features(model, run, tmp_path):
    source = tmp_path / "source"
    (source / "images").mkdir(parents=True)
    (source / "log").mkdir()
    rows = []
    for number in range(10):
        tf.io.write_file(str(source / "images" / f"{number}.png"), tf.io.encode_png(pixels(number)))
        for clicks, text in ((3, f"cat {number}"), (1, "red")):
            row = {"query": text, "image_id": str(number), "clicks": clicks, "impressions": 9}
            rows.append(row | {"label": number % 2, "label_text": ["even", "odd"][number % 2]})
    (source / "log" / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    DataFolder(kind="clicks", name="made").save(source)

    out = tmp_path / "features"
    told = vlsearch(
        "data", "extract-features", str(source), str(out), "--towers", str(run), "--split-by-image"
    )
    assert "10 rows (7 train, 1 val, 2 test), images of 4 numbers, texts of 4, 2 classes" in (
        told.stdout
    )
    folder = DataFolder.load(out)
    assert folder.towers == str(run)
    found = FeatureSet.load(folder.feature_file)
    assert found.label_names == ("even", "odd")
    images = model.encode_image({"image": tf.stack([pixels(number) for number in range(10)])})
    np.testing.assert_allclose(found.image, images, atol=1e-5)
    texts = [f"cat {number}" for number in range(10)]
    expected = model.encode_text({**TOKENIZER.tokenize(tf.constant(texts))})
    np.testing.assert_allclose(found.text, expected, atol=1e-5)
    assert found.label.argmax(axis=1).tolist() == [0, 1] * 5
