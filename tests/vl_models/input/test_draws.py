import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from tests.vl_models.training import tiny
from vl_models import features as f
from vl_models.errors import UserError
from vl_models.input.draws import Scan, Selection, scan_records, select_function
from vl_models.input.records import START, find_shards
from vl_models.input.source import Feed

CLICKS = [1, 1, 2, 4]  # of 4 records; by power 1 they are drawn 0.5, 0.5, 1 and 2 times an epoch
FEED = Feed(batch_size=3, texts_per_image=2, seed=5, shuffle_buffer=5)


def labelled(number):
    """Every third record has no label; the clicks of records repeat."""
    return {
        f.IMAGE_CLICKS_TOTAL: [CLICKS[number % 4]],
        f.LABEL_ID: [] if number % 3 == 0 else [number % 2],
        f.LABEL_TEXT: [] if number % 3 == 0 else [b"Class %d" % (number % 2)],
    }


@pytest.fixture(scope="module")
def pattern(tmp_path_factory):
    root = tmp_path_factory.mktemp("records")
    return tiny.write_records(root, shards=3, per_shard=8, with_images=False, features=labelled)


def make(pattern, **config):
    return tiny.source(pattern, inputs=["token_ids"], shuffle_shards=2, **config)


def take(source, count, feed=FEED, position=START):
    return list(itertools.islice(source.open(feed, position), count))


def serialized(clicks):
    def example(count):
        features = {f.IMAGE_CLICKS_TOTAL: tiny.feature_of([count])}
        return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()

    return tf.constant([example(count) for count in clicks])


def test_a_scan_counts_and_sums_what_belongs_to_the_source(pattern):
    shards = find_shards([pattern])
    kept = [CLICKS[number % 4] for number in range(24) if number % 3]
    assert scan_records(shards, Selection()) == Scan(24, 24.0, 1.0)
    assert scan_records(shards, Selection(labelled=True)) == Scan(16, 16.0, 1.0)
    assert scan_records(shards, Selection(True, 1.0)) == Scan(16, float(sum(kept)), 4.0)
    halves = scan_records(shards, Selection(power=0.5))
    assert halves.weight == pytest.approx(6 * (1 + 1 + math.sqrt(2) + 2))
    assert halves.largest == 2.0


def test_draws_are_the_floor_or_one_more_and_right_on_average():
    clicks = np.arange(1, 41)
    records, rows = serialized(clicks), tf.range(40, dtype=tf.int64)
    selection = Selection(power=0.7)
    weights = clicks**0.7
    scan = Scan(40, float(weights.sum()), float(weights.max()))
    expected = 40 * weights / weights.sum()
    counts = select_function(selection, scan, seed=1)
    drawn = np.array([counts(records, rows, tf.constant(epoch, tf.int64)) for epoch in range(300)])
    assert np.all((drawn == np.floor(expected)) | (drawn == np.floor(expected) + 1))
    rest = expected - np.floor(expected)
    deviation = np.abs(drawn.sum(axis=0) - 300 * expected) / np.sqrt(300 * rest * (1 - rest))
    assert deviation.max() < 4.0
    # another epoch, another seed: other draws; the same ones: the same draws
    assert not np.array_equal(drawn[0], drawn[1])
    again = counts(records, rows, tf.constant(0, tf.int64))
    np.testing.assert_array_equal(drawn[0], again)
    other = select_function(selection, scan, seed=2)(records, rows, tf.constant(0, tf.int64))
    assert not np.array_equal(drawn[0], other)


def test_whole_expectations_are_drawn_exactly():
    counts = select_function(Selection(power=1.0), Scan(4, 8.0, 4.0), seed=0)
    drawn = np.array(
        [
            counts(serialized(CLICKS), tf.range(4, dtype=tf.int64), tf.constant(epoch, tf.int64))
            for epoch in range(50)
        ]
    )
    assert set(drawn[:, 2]) == {1} and set(drawn[:, 3]) == {2}
    assert set(drawn[:, 0]) == set(drawn[:, 1]) == {0, 1}


def test_an_image_drawn_more_often_than_copies_can_be_numbered_is_an_error():
    with pytest.raises(UserError) as caught:
        select_function(Selection(power=2.0), Scan(100_000, 2.0, 1.0), seed=0)
    assert str(caught.value) == (
        "image_draw_power=2 draws one image more than 32,767 times an epoch. Lower it."
    )


def test_only_records_with_a_label_text_are_drawn_each_once(pattern):
    source = make(pattern, texts="labels", templates=("{}",))
    batches = take(source, 10)  # 16 records: 5 batches an epoch
    assert source.steps_per_epoch(3) == 5 and source.steps_per_epoch(1) == 16
    expected = {(n // 8 << 32) + n % 8 for n in range(24) if n % 3}
    for epoch in (batches[:5], batches[5:]):
        rows = np.concatenate([batch["row"] for batch, _ in epoch])
        assert len(set(rows)) == 15 and set(rows) < expected
        assert [place.epoch for _, place in epoch] == [epoch[0][1].epoch] * 5


def test_copies_have_rows_and_seeds_of_their_own(pattern):
    whole = take(make(pattern, image_draw_power=1.0), 30, FEED)
    epochs = {}
    for batch, place in whole:
        epochs.setdefault(place.epoch, []).extend(batch["row"].numpy())
    rows = np.array(epochs[1])  # a whole epoch, less at most 2 rows
    assert len(set(rows)) == len(rows)
    records, copies = rows % 2**48, rows >> 48
    assert set(copies) == {0, 1}
    # every second copy is of an image with 4 of the 8 clicks, drawn twice an epoch
    twice = {(n // 8 << 32) + n % 8 for n in range(24) if n % 4 == 3}
    assert set(records[copies == 1]) <= twice
    assert len(records[copies == 1]) >= len(twice) - 2
    seeds = {tuple(seed) for batch, _ in whole for seed in batch["seed"].numpy().tolist()}
    assert len(seeds) == 3 * len(whole)


@pytest.mark.parametrize(
    "config",
    [
        {"texts": "labels", "templates": ("a {}", "the {}"), "image_draw_power": 1.0},
        {"image_draw_power": 0.5, "text_draw_power": 0.5},
    ],
)
def test_resuming_at_every_position_continues_the_same_batches(pattern, config):
    straight = take(make(pattern, **config), 12)
    assert straight[-1][1].epoch >= 1
    for cut in (3, 5, 11):
        tf.random.set_seed(cut)  # must not matter
        resumed = take(make(pattern, **config), 12 - cut, position=straight[cut - 1][1])
        for (batch, place), (expected, expected_place) in zip(resumed, straight[cut:]):
            assert place == expected_place
            assert batch.keys() == expected.keys()
            for key in expected:
                np.testing.assert_array_equal(batch[key], expected[key])


def test_log_q_is_the_log_of_the_expected_share_of_the_draws(pattern):
    source = make(pattern, image_draw_power=0.5)
    total = 6 * sum(math.sqrt(clicks) for clicks in CLICKS)
    for batch, _ in take(source, 4):
        records = batch["row"].numpy() % 2**32
        share = np.sqrt(np.array(CLICKS)[records % 4]) / total
        np.testing.assert_allclose(batch["image_log_q"], np.log(share), atol=1e-6)


def test_log_q_of_images_drawn_once_is_one_constant(pattern):
    for batch, _ in take(make(pattern, image_draw_power=0.0), 3):
        assert batch["image_log_q"].numpy().tolist() == [0.0] * 3
    part = Feed(batch_size=3, seed=5, shuffle_buffer=5, part=0.25)
    for batch, _ in take(make(pattern, image_draw_power=0.0), 2, part):
        np.testing.assert_allclose(batch["image_log_q"], [math.log(0.25 / 24)] * 3, rtol=1e-6)


def test_too_few_labelled_records_are_an_error(pattern):
    source = make(pattern, texts="labels")
    with pytest.raises(UserError) as caught:
        take(source, 1, Feed(batch_size=17))
    assert str(caught.value) == (
        "Source 'clicks' has 16 records with a label text, fewer than one global batch. "
        "Received: batch_size=17. Use a smaller batch or more data."
    )
