import numpy as np
import pytest

from tests.vl_models.training import tiny
from vl_models.errors import UserError
from vl_models.input.mixer import Mixer, choose_source, source_in_turn
from vl_models.input.records import InputPosition
from vl_models.input.source import Feed


@pytest.fixture(scope="module")
def patterns(tmp_path_factory):
    root = tmp_path_factory.mktemp("records")
    return [tiny.write_records(root / name, shards=2, per_shard=8) for name in "ab"]


def make(patterns, worker=0, workers=1, sampling="debiased"):
    feed = Feed(batch_size=4, seed=1, shuffle_buffer=4, worker=worker, workers=workers)
    sources = [tiny.source(p, name, w) for p, name, w in zip(patterns, "ab", (3.0, 1.0))]
    return Mixer(sources, feed, sampling)


def test_shares_follow_the_weights():
    drawn = np.bincount([choose_source(0, step, [3.0, 1.0]) for step in range(2000)])
    assert abs(drawn[0] - 1500) < 3.3 * np.sqrt(2000 * 0.75 * 0.25)
    assert {choose_source(0, step, [0.0, 1.0]) for step in range(100)} == {1}


def test_sources_take_turns_as_often_as_their_shares_say():
    assert [source_in_turn(step, [1.0, 1.0, 1.0]) for step in range(6)] == [0, 1, 2, 0, 1, 2]
    turns = [source_in_turn(step, [8.0, 1.0, 1.0]) for step in range(2500)]
    for start in range(0, 2500, 10):
        assert np.bincount(turns[start : start + 10]).tolist() == [8, 1, 1]
    odd = np.bincount([source_in_turn(step, [0.3, 0.61, 0.09]) for step in range(1234)])
    np.testing.assert_allclose(odd, 1234 * np.array([0.3, 0.61, 0.09]), atol=1.0)


def test_round_robin_feeds_one_source_after_the_other(patterns):
    mixer = make(patterns, sampling="round_robin")
    seen = [set(mixer.batch(step)["source_id"].numpy()) for step in range(8)]
    assert seen == [{0}, {0}, {1}, {0}] * 2 or seen == [{0}, {1}, {0}, {0}] * 2


def test_all_workers_draw_the_same_source_and_share_its_batch(patterns):
    whole, left, right = make(patterns), make(patterns, 0, 2), make(patterns, 1, 2)
    seen = set()
    for step in range(10):
        batch, one, two = (mixer.batch(step) for mixer in (whole, left, right))
        seen |= set(batch["source_id"].numpy())
        rows = np.concatenate([one["row"], two["row"]])
        np.testing.assert_array_equal(batch["row"], rows)
        assert set(one["source_id"].numpy()) == set(two["source_id"].numpy())
        assert len(set(batch["source_id"].numpy())) == 1
    assert seen == {0, 1}
    assert whole.positions == left.positions == right.positions


def test_restored_positions_continue_every_source(patterns):
    straight = make(patterns)
    for step in range(5):
        straight.batch(step)
    resumed = make(patterns)
    resumed.restore({name: list(place) for name, place in straight.positions.items()})
    for step in range(5, 12):
        expected, batch = straight.batch(step), resumed.batch(step)
        for key in expected:
            np.testing.assert_array_equal(batch[key], expected[key])


def test_a_phase_may_restrict_the_sources(patterns):
    mixer = make(patterns)
    for step in range(5):
        assert set(mixer.batch(step, ["b"])["source_id"].numpy()) == {1}
    assert mixer.positions["a"] == InputPosition()
    assert mixer.steps_per_epoch() == 8
    assert mixer.steps_per_epoch(["a"]) == 4


def test_unknown_and_repeated_names_are_errors(patterns):
    with pytest.raises(UserError, match=r"No source is called 'c'\. Sources: a, b"):
        make(patterns).check_names(["c"])
    with pytest.raises(UserError, match="run lacks: c"):
        make(patterns).restore({"c": [0, 0, 0]})
    with pytest.raises(UserError, match="different names"):
        Mixer([tiny.source(patterns[0])] * 2, Feed(batch_size=4))
