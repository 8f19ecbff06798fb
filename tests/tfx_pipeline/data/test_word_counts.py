"""The words of a learned vocabulary: of the queries, and of filled label templates."""

import apache_beam as beam
import pytest
import tensorflow as tf

from tfx_pipeline.data.word_counts import learn_vocabulary
from vl_models import features as f
from vl_models.text.wordpiece import WordPieceTokenizer


@pytest.fixture
def tmp_path(tmp_path):
    path = tmp_path / "[2024] run"
    path.mkdir()
    return path


@pytest.fixture
def pattern(tmp_path):
    with tf.io.TFRecordWriter(str(tmp_path / "data_tfrecord-0.gz"), "GZIP") as writer:
        for number in range(20):
            example = tf.train.Example()
            values = {f.QUERY_TEXT: [b"red shoe", b"boot"]}
            if number < 5:
                values[f.LABEL_TEXT] = [b"Foot Wear"]
            for name, texts in values.items():
                example.features.feature[name].bytes_list.value.extend(texts)
            writer.write(example.SerializeToString())
    return str(tmp_path / "*.gz")


def counts(tmp_path):
    lines = [line.split("\t") for line in (tmp_path / "word_counts.tsv").open(encoding="utf-8")]
    return {word.rstrip("\n"): int(count) for count, word in lines}


def test_templates_count_once_per_label_and_image(pattern, tmp_path):
    templates = ["A picture of {}.", "{}的图片"]
    tokens = learn_vocabulary(beam.Pipeline(), pattern, tmp_path, 300, templates)
    assert counts(tmp_path) == {
        **dict.fromkeys(["red", "shoe", "boot"], 20),
        **dict.fromkeys(["foot", "wear"], 10),
        **dict.fromkeys(["a", "picture", "of", ".", "的", "图", "片"], 5),
    }
    tokenizer = WordPieceTokenizer(tokens, 16)
    texts = tf.constant(["a picture of foot wear.", "foot wear的图片"])
    ids = tokenizer.tokenize(texts)["token_ids"].numpy()
    assert tokens.index("[UNK]") not in ids
    assert {"picture", "wear", "片"} <= {tokens[i] for i in ids.ravel()}


def test_label_texts_without_templates_are_not_read(pattern, tmp_path):
    learn_vocabulary(beam.Pipeline(), pattern, tmp_path, 300)
    assert counts(tmp_path) == dict.fromkeys(["red", "shoe", "boot"], 20)
