import gzip
import itertools
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.vl_models.training import tiny
from vl_models import features as f
from vl_models.errors import UserError
from vl_models.input.records import START, find_shards
from vl_models.input.source import Feed

FEED = Feed(batch_size=4, texts_per_image=2, seed=5, shuffle_buffer=5)


@pytest.fixture(scope="module")
def pattern(tmp_path_factory):
    return tiny.write_records(tmp_path_factory.mktemp("records"), shards=3, per_shard=7)


def take(source, count, feed=FEED, position=START):
    return list(itertools.islice(source.open(feed, position), count))


def test_an_epoch_holds_each_row_once_and_drops_the_remainder(pattern):
    batches = take(tiny.source(pattern, shuffle_shards=2), 10)  # 21 records: 5 batches an epoch
    for epoch in (batches[:5], batches[5:]):
        rows = np.concatenate([batch["row"].numpy() for batch, _ in epoch])
        assert len(set(rows)) == 20
        assert set(rows >> 32) == {0, 1, 2}
        assert set(rows & 0xFFFFFFFF) <= set(range(7))
    assert [position.epoch for _, position in batches] == [0] * 5 + [1] * 5
    assert not np.array_equal(batches[0][0]["row"], batches[5][0]["row"])


def test_batch_has_the_contract_of_dtypes_and_shapes(pattern):
    batch, _ = take(tiny.source(pattern, classes=["0", "1", "2"]), 1)[0]
    assert {key: (value.dtype.name, value.shape.as_list()) for key, value in batch.items()} == {
        "image": ("uint8", [4, 4, 4, 3]),
        "token_ids": ("int32", [8, 6]),
        "text_mask": ("bool", [8, 6]),
        "image_id_hash": ("int64", [4]),
        "query_hash": ("int64", [8]),
        "clicked_query_hashes": ("int64", [4, 4]),
        "row": ("int64", [4]),
        "seed": ("int32", [4, 2]),
        "label": ("float32", [4, 3]),
        "label_id": ("int32", [4]),
        "query_weight": ("float32", [8]),
        "image_log_q": ("float32", [4]),
        "source_type": ("int32", [4]),
        "source_id": ("int32", [4]),
    }


def test_values_are_those_of_the_example(pattern):
    source = tiny.source(pattern, classes=["0", "1", "2"], shuffle=False, total_clicks=231.0)
    batch, _ = take(source, 1)[0]
    assert batch["row"].numpy().tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(batch["image_log_q"], np.log([1, 2, 3, 4]) - np.log(231), atol=1e-6)
    assert batch["label_id"].numpy().tolist() == [0, 1, 2, 0]
    np.testing.assert_array_equal(batch["label"], np.eye(3)[[0, 1, 2, 0]])
    assert batch["source_type"].numpy().tolist() == [1] * 4  # "caption"
    names = [f"image-{i}" for i in range(4)]
    np.testing.assert_array_equal(
        batch["image_id_hash"], tf.strings.to_hash_bucket_fast(names, 2**62).numpy()
    )


def test_texts_are_image_major_distinct_and_clicked(pattern):
    source = tiny.source(pattern, shuffle=False)
    batch, _ = take(source, 1)[0]
    texts = [[f"image {i} text {q}" for q in range(3)] for i in range(4)]
    keys = tf.strings.to_hash_bucket_fast(texts, 2**62).numpy()
    drawn = batch["query_hash"].numpy().reshape(4, 2)
    for image in range(4):
        assert len(set(drawn[image])) == 2
        assert set(drawn[image]) <= set(keys[image])
        # heaviest first: weights are 1, 2, 3; padded with -1
        clicked = batch["clicked_query_hashes"].numpy()[image].tolist()
        assert clicked == [*keys[image][::-1].tolist(), -1]
    # the tokens are those of the drawn texts, in the same order
    flat = [texts[i][keys[i].tolist().index(drawn[i, j])] for i in range(4) for j in range(2)]
    np.testing.assert_array_equal(batch["token_ids"], tiny.tokenize(flat)["token_ids"])


def test_resuming_at_every_position_continues_the_same_batches(pattern):
    def make():
        return tiny.source(pattern, shuffle_shards=2)

    tf.random.set_seed(1)
    straight = take(make(), 9)
    for cut in range(1, 9):
        tf.random.set_seed(cut + 1)  # must not matter
        resumed = take(make(), 9 - cut, position=straight[cut - 1][1])
        for (batch, place), (expected, expected_place) in zip(resumed, straight[cut:]):
            assert place == expected_place
            for key in expected:
                np.testing.assert_array_equal(batch[key], expected[key])


def test_seeds_depend_on_row_and_epoch_only(pattern):
    def seeds(feed, count, epoch):
        return {
            int(row): tuple(seed)
            for batch, position in take(tiny.source(pattern), count, feed)
            if position.epoch == epoch
            for row, seed in zip(batch["row"].numpy(), batch["seed"].numpy())
        }

    first = seeds(FEED, 10, 0)
    other_batches = seeds(Feed(batch_size=7, seed=5, shuffle_buffer=1), 3, 0)
    common = first.keys() & other_batches.keys()
    assert len(common) >= 19
    assert all(first[row] == other_batches[row] for row in common)
    assert len(set(first.values())) == len(first)
    second = seeds(FEED, 10, 1)
    assert all(first[row] != second[row] for row in first.keys() & second.keys())


def test_workers_get_the_contiguous_slices_of_the_global_batch(pattern):
    whole = take(tiny.source(pattern), 7)
    parts = [
        take(tiny.source(pattern), 7, Feed(4, 2, 5, 0, 5, worker=worker, workers=2))
        for worker in range(2)
    ]
    for (batch, place), (left, left_place), (right, right_place) in zip(whole, *parts):
        assert place == left_place == right_place
        for key in batch:
            np.testing.assert_array_equal(batch[key], tf.concat([left[key], right[key]], 0))


def test_features_instead_of_images_and_missing_modalities(pattern):
    batch, _ = take(tiny.source(pattern, inputs=["token_ids"]), 1)[0]
    assert "image" not in batch and "token_ids" in batch
    batch, _ = take(tiny.source(pattern, inputs=["image"]), 1)[0]
    assert "token_ids" not in batch and "query_hash" not in batch and "image" in batch


def test_an_epoch_shorter_than_a_batch_is_an_error(pattern):
    with pytest.raises(UserError, match="has 21 records, fewer than one global batch"):
        take(tiny.source(pattern), 1, Feed(batch_size=22))


def test_no_file_is_an_error(tmp_path):
    with pytest.raises(UserError, match="No record file matches"):
        tiny.source(str(tmp_path / "nothing-*.gz"))


def test_a_record_without_image_names_shard_and_record(tmp_path):
    pattern = tiny.write_records(tmp_path, shards=1, per_shard=4, with_images=False)
    with pytest.raises(UserError, match=r"(?s)'clicks'.*no image: shard, record.*\[0\] \[\d\]"):
        take(tiny.source(pattern), 1)


def test_a_record_without_text_names_shard_and_record(tmp_path):
    pattern = tiny.write_records(tmp_path, shards=1, per_shard=4, queries=0)
    with pytest.raises(UserError, match=r"(?s)no text: shard, record.*\[0\] \[0\]"):
        take(tiny.source(pattern, shuffle=False), 1)


def write_texts(path, texts, features, weights):
    """One record of texts with their features and weights."""

    def floats(values):
        return tf.train.Feature(float_list=tf.train.FloatList(value=np.ravel(values)))

    feature = {
        f.QUERY_TEXT: tf.train.Feature(bytes_list=tf.train.BytesList(value=texts)),
        f.QUERY_FEATURES: floats(features),
        f.QUERY_WEIGHT: floats(weights),
    }
    example = tf.train.Example(features=tf.train.Features(feature=feature))
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        writer.write(example.SerializeToString())


def test_text_features_belong_to_the_drawn_texts(tmp_path):
    features = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
    write_texts(tmp_path / "a.gz", [b"x"], features[2:], [])
    write_texts(tmp_path / "b.gz", [b"y", b"z"], features[:2], [])
    source = tiny.source(
        str(tmp_path / "*.gz"), inputs=["text_features"], text_features=2, shuffle=False
    )
    batch, _ = take(source, 1, Feed(2, 2))[0]
    by_key = dict(
        zip(tf.strings.to_hash_bucket_fast(["y", "z", "x"], 2**62).numpy(), features, strict=True)
    )
    np.testing.assert_array_equal(
        batch["text_features"], [by_key[key] for key in batch["query_hash"].numpy()]
    )
    assert len(set(batch["query_hash"].numpy()[2:])) == 2
    assert batch["query_weight"].numpy().tolist() == [1.0] * 4  # none stored


@pytest.mark.parametrize(
    ("features", "weights", "message"),
    [
        ([1, 2, 3], [], "not 2 features for each text"),
        ([1, 2, 3, 4], [1], "not as many weights as texts"),
    ],
)
def test_features_and_weights_must_fit_the_texts(tmp_path, features, weights, message):
    write_texts(tmp_path / "a.gz", [b"x", b"y"], features, weights)
    source = tiny.source(str(tmp_path / "*.gz"), inputs=["text_features"], text_features=2)
    with pytest.raises(UserError, match=rf"(?s){message}: shard, record.*\[0\] \[0\]"):
        take(source, 1, Feed(1))


def test_a_cut_off_file_is_an_error(tmp_path):
    (compressed,) = find_shards([tiny.write_records(tmp_path, shards=1, per_shard=50)])
    plain = tmp_path / "plain_tfrecord"
    plain.write_bytes(gzip.decompress(Path(compressed).read_bytes())[:-7])  # in the last record
    with pytest.raises(UserError, match=r"cannot be used: .*truncated record"):
        take(tiny.source(str(plain)), 13)


def test_steps_per_epoch_counts_full_batches(pattern):
    assert tiny.source(pattern).steps_per_epoch(4) == 5
