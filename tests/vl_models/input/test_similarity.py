"""Batches of images that were clicked for the same queries."""

import itertools

import numpy as np
import pydantic
import pytest
import tensorflow as tf

from tests.vl_models.training import tiny
from vl_models import features as f
from vl_models.input.config import InputConfig
from vl_models.input.records import START
from vl_models.input.similarity import min_hashes
from vl_models.input.source import Feed

FEED = Feed(batch_size=4, seed=5, shuffle_buffer=24)
GROUPS = 6  # of 24 records; images of a group have all queries in common


def clicked(number):
    group = number % GROUPS
    return {f.QUERY_TEXT: [b"query %d of %d" % (query, group) for query in range(3)]}


def serialized(queries):
    features = {f.QUERY_TEXT: tiny.feature_of([query.encode() for query in queries])}
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def keys(records, seed):
    return min_hashes(tf.constant(records), tf.constant(seed, tf.int64)).numpy()


def test_equal_with_the_probability_of_the_resemblance():
    words = [f"word {number}" for number in range(12)]
    records = [serialized(words[:8]), serialized(words[4:]), serialized(words[8:])]
    drawn = np.stack([keys(records, [7, seed]) for seed in range(900)])
    common = np.mean(drawn[:, 0] == drawn[:, 1])  # 4 of 12 queries
    assert common == pytest.approx(1 / 3, abs=4 * np.sqrt(1 / 3 * 2 / 3 / 900))
    assert not np.any(drawn[:, 0] == drawn[:, 2])
    assert np.all(drawn >= 0)


def test_neither_order_nor_repetition_of_queries_matters_and_none_is_last():
    records = [serialized(["a", "b"]), serialized(["b", "a", "b"]), serialized([])]
    one, two, none = keys(records, [3, 1])
    assert one == two < none == np.iinfo(np.int64).max


@pytest.fixture(scope="module")
def pattern(tmp_path_factory):
    root = tmp_path_factory.mktemp("records")
    return tiny.write_records(root, shards=2, per_shard=12, with_images=False, features=clicked)


def rows(pattern, count, position=START, **config):
    """Which record each row of a batch is, and the position after it."""
    source = tiny.source(pattern, inputs=["token_ids"], shuffle_shards=2, **config)
    batches = itertools.islice(source.open(FEED, position), count)
    return [(tuple(batch["image_id_hash"].numpy()), after) for batch, after in batches]


def test_a_batch_holds_a_group_and_an_epoch_everything_once(pattern):
    found = rows(pattern, 12, similar_images=True)
    groups = {}
    for number, (images, _) in enumerate(rows(pattern, 6, shuffle=False)):
        for place, image in enumerate(images):
            groups[image] = (4 * number + place) % GROUPS
    for epoch in (found[:6], found[6:]):
        assert sorted(image for images, _ in epoch for image in images) == sorted(groups)
        assert all(len({groups[image] for image in images}) == 1 for images, _ in epoch)
    # Another epoch brings the groups in another order, and its members too.
    assert [images for images, _ in found[:6]] != [images for images, _ in found[6:]]
    mixed = rows(pattern, 6)
    assert any(len({groups[image] for image in images}) > 1 for images, _ in mixed)


def test_it_goes_on_exactly_from_every_position(pattern):
    whole = rows(pattern, 14, similar_images=True)
    for start in (1, 5, 6, 9):
        rest = rows(pattern, 14 - start, whole[start - 1][1], similar_images=True)
        assert rest == whole[start:]


def test_without_shuffling_it_is_refused():
    with pytest.raises(pydantic.ValidationError, match="similar_images reorders records"):
        InputConfig(sources=({"similar_images": True},), shuffle=False)
