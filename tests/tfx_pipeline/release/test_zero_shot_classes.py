import logging

import pytest
import tensorflow as tf

from tests.vl_models.test_export import make_model
from tfx_pipeline.release.zero_shot_classes import count_label_texts, resolve_classes
from vl_models import features
from vl_models.errors import UserError
from vl_models.models.registry import build_model, model_config_from_dict
from vl_models.zero_shot_config import ZeroShotConfig


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture
def pattern(tmp_path):
    """Two files of Examples: "cat" three times, "dog" and "猫" twice, one without a label."""
    rows = [["dog", "cat"], [], ["猫"], ["cat"], ["猫", "dog"], ["cat"]]
    for shard in range(2):
        path = str(tmp_path / f"data_tfrecord-{shard:05d}-of-00002.gz")
        with tf.io.TFRecordWriter(path, "GZIP") as writer:
            for texts in rows[shard::2]:
                values = tf.train.BytesList(value=[text.encode() for text in texts])
                feature = {features.LABEL_TEXT: tf.train.Feature(bytes_list=values)}
                example = tf.train.Example(features=tf.train.Features(feature=feature))
                writer.write(example.SerializeToString())
    return str(tmp_path / "data_tfrecord-*")


def test_labels_are_counted_over_all_files(pattern):
    assert count_label_texts(pattern) == {"cat": 3, "dog": 2, "猫": 2}


def test_the_labels_are_the_classes_sorted(pattern, model):
    assert resolve_classes(ZeroShotConfig(), model, pattern) == ("cat", "dog", "猫")


def test_of_too_many_labels_the_commonest(pattern, model, caplog):
    with caplog.at_level(logging.WARNING):
        assert resolve_classes(ZeroShotConfig(max_classes=2), model, pattern) == ("cat", "dog")
    assert caplog.messages == [
        "The train split has 3 label texts; the 2 commonest are the zero-shot classes "
        "(zero_shot.max_classes)."
    ]


def test_named_classes_keep_their_order_and_need_no_data(model):
    config = ZeroShotConfig(classes=["dog", "cat"])
    assert resolve_classes(config, model, "/nowhere/*") == ("dog", "cat")


def test_no_classes_without_configuration_or_labels(pattern, model, tmp_path):
    assert resolve_classes(None, model, pattern) == ()
    assert resolve_classes(ZeroShotConfig(), model, str(tmp_path / "none-*")) == ()


def test_a_system_without_texts_has_no_classes(pattern):
    image = {"kind": "vit", "patch_size": 8, "width": 8, "depth": 1, "heads": 1}
    config = {"system": "moco", "image": image, "image_size": 16, "queue_size": 8}
    moco = build_model(model_config_from_dict(config))
    assert resolve_classes(ZeroShotConfig(), moco, pattern) == ()


def test_an_unknown_prefix_is_refused_before_the_data_is_read(model):
    with pytest.raises(UserError, match="no such text prefix; it has: none"):
        resolve_classes(ZeroShotConfig(prefix="labels"), model, "/nowhere/*")
