"""Sources of an experiment on Examples as ClickExampleGen writes them."""

import itertools
from typing import ClassVar

import numpy as np
import pytest
import tensorflow as tf

from tests.tfx_pipeline.conftest import REPOSITORY
from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.training.sources import train_sources, validation_source
from vl_models import features as f
from vl_models.errors import UserError
from vl_models.input.config import InputConfig, InputFacts
from vl_models.input.records import START
from vl_models.input.source import Feed
from vl_models.models.base_config import ModelConfig
from vl_models.models.registry import model_config_from_dict

TWO = (
    "[{name: labels, texts: labels, share: 0.3, templates: ['a {}']}, {name: queries, share: 0.7}]"
)


def tokenize(texts):
    """Bytes as ids: what the text is can be read from them."""
    ids = tf.io.decode_raw(texts, tf.uint8, fixed_length=40)
    return {"token_ids": tf.cast(ids, tf.int32), "text_mask": ids > 0}


def texts_of(batch):
    return [bytes(row[row > 0].astype(np.uint8).tolist()) for row in batch["token_ids"].numpy()]


def scaled(weights):
    return weights * 10.0


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """Eight images in train, of which two have a label, and two in val."""
    folder = tmp_path_factory.mktemp("examples")
    for split, count in (("train", 8), ("val", 2)):
        (folder / f"Split-{split}").mkdir()
        path = folder / f"Split-{split}" / "data_tfrecord-00000-of-00001.gz"
        with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
            for number in range(count):
                writer.write(record(number).SerializeToString())
    return folder


def record(number):
    example = tf.train.Example()
    features = example.features.feature
    features[f.IMAGE_ID].bytes_list.value.append(b"image %d" % number)
    png = tf.io.encode_png(tf.fill([40, 40, 3], tf.constant(number, tf.uint8))).numpy()
    features[f.IMAGE_ENCODED].bytes_list.value.append(png)
    features[f.QUERY_TEXT].bytes_list.value.append(b"query %d" % number)
    features[f.QUERY_WEIGHT].float_list.value.append(2.0)
    if number in (1, 5):
        features[f.LABEL_ID].int64_list.value.append(number)
        features[f.LABEL_TEXT].bytes_list.value.append(b"Class %d" % number)
    return example


def experiment(sources):
    overrides = ["model.image_size=32", "input.augment=false", f"input.sources={sources}"]
    return ExperimentConfig.load(REPOSITORY / "configs" / "emoji.yaml", overrides)


def facts_of(model):
    return InputFacts(model.inputs, model.image_sizes, model.image_fit)


def sources_of(config, model, examples, weight_fn=None):
    return train_sources(config.input, facts_of(model), model, examples, tokenize, weight_fn)


def first(source, feed):
    return next(itertools.islice(source.open(feed, START), 1))[0]


def test_sources_keep_order_names_and_shares(examples):
    config = experiment(TWO)
    sources = sources_of(config, config.model, examples)
    assert [(s.name, s.weight) for s in sources] == [("labels", 0.3), ("queries", 0.7)]
    assert [s.steps_per_epoch(1) for s in sources] == [2, 8]
    assert config.input.source_names == ("labels", "queries")
    assert config.input.query_source == 1 and InputConfig().query_source == 0


def test_label_texts_go_through_the_tokeniser_of_the_queries(examples):
    config = experiment(TWO)
    labels, queries = sources_of(config, config.model, examples, scaled)
    batch = first(labels, Feed(2))
    assert sorted(texts_of(batch)) == [b"a class 1", b"a class 5"]
    assert [f"a class {n}".encode() for n in batch["label_id"].numpy()] == texts_of(batch)
    assert batch["query_weight"].numpy().tolist() == [1.0, 1.0]  # no clicks to rescale
    batch = first(queries, Feed(8))
    assert sorted(texts_of(batch)) == [b"query %d" % number for number in range(8)]
    assert batch["query_weight"].numpy().tolist() == [20.0] * 8
    assert batch["label_id"].numpy().tolist() == [-1] * 8


def test_validation_is_on_the_queries_of_val_whatever_the_sources(examples):
    config = experiment(TWO)
    source = validation_source(config.input, facts_of(config.model), examples, tokenize)
    batch = first(source, Feed(2, source_id=config.input.query_source))
    assert source.name == "val" and texts_of(batch) == [b"query 0", b"query 1"]
    assert batch["source_id"].numpy().tolist() == [1, 1]
    assert batch["image"].shape == (2, 32, 32, 3)


def test_labels_need_a_system_that_reads_texts(examples):
    config = experiment(TWO)
    moco = model_config_from_dict({"system": "moco"})
    with pytest.raises(UserError) as caught:
        sources_of(config, moco, examples)
    assert str(caught.value) == (
        "Source 'labels' makes texts of labels, but the system 'moco' reads no texts. Take it out "
        "of input.sources."
    )


class FromSingles(ModelConfig):
    """Of a system that also learns from images alone and from texts alone."""

    inputs: ClassVar = ("image", "token_ids")
    LEARNS_UNPAIRED: ClassVar = True


SINGLES = "[{name: images, rows: images}, {name: texts, rows: texts}]"


def test_pairs_give_rows_of_one_modality(examples):
    config, model = experiment(SINGLES), FromSingles(system="any", image_size=32)
    images, texts = sources_of(config, model, examples, scaled)
    batch = first(images, Feed(8))
    assert batch["image"].shape == (8, 32, 32, 3)
    assert not {"token_ids", "text_mask", "query_hash", "query_weight"} & batch.keys()
    assert set(batch["source_type"].numpy()) == {f.SOURCE_TYPES.index("image_only")}
    batch = first(texts, Feed(8))
    assert sorted(texts_of(batch)) == [b"query %d" % number for number in range(8)]
    assert "image" not in batch
    assert set(batch["source_type"].numpy()) == {f.SOURCE_TYPES.index("text_only")}


def test_examples_of_images_alone_come_before_those_of_pairs(examples, tmp_path):
    (tmp_path / "Split-train").symlink_to(examples / "Split-train")
    (tmp_path / "Split-train-image-only").symlink_to(examples / "Split-val")
    model = FromSingles(system="any", image_size=32)
    images, texts = sources_of(experiment(SINGLES), model, tmp_path)
    assert (images.steps_per_epoch(1), texts.steps_per_epoch(1)) == (2, 8)


def test_a_system_of_pairs_refuses_rows_of_one_modality(examples):
    config = experiment(SINGLES)
    with pytest.raises(UserError) as caught:
        sources_of(config, config.model, examples)
    assert str(caught.value) == (
        "Source 'images' has rows of images alone, of which the system 'clip' learns nothing. "
        "Take it out of input.sources, or take 'tfnh'."
    )
