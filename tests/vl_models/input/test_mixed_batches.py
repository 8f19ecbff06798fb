"""`sampling: mixed`: every batch holds rows of all sources by share."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tests.vl_models.training import tiny
from vl_models import features as f
from vl_models.errors import UserError
from vl_models.input.mixer import Mixer, rows_by_share
from vl_models.input.source import Feed
from vl_models.training.checkpoint import load_checkpoint
from vl_models.training.config import TrainConfig
from vl_models.training.trainer import Trainer


@pytest.fixture(scope="module")
def pattern(tmp_path_factory):
    """16 records, 8 of them with a label."""
    return tiny.write_records(
        tmp_path_factory.mktemp("records"),
        shards=2,
        per_shard=8,
        with_images=False,
        features=lambda number: {f.LABEL_TEXT: [b"class %d" % (number % 3)] * (number % 2)},
    )


def make(pattern, shares=(5.0, 3.0), worker=0, workers=1, sampling="mixed", **config):
    feed = Feed(8, 2, 1, shuffle_buffer=4, worker=worker, workers=workers)
    settings = {"inputs": ["token_ids"], "image_draw_power": 0.0, **config}
    sources = [
        tiny.source(pattern, "queries", shares[0], **settings, use_labels=False),
        tiny.source(
            pattern, "labels", shares[1], **settings, texts="labels", templates=("a {}", "the {}")
        ),
    ]
    return Mixer(sources, feed, sampling)


def batches(mixer, count, first=0):
    return [mixer.batch(step) for step in range(first, first + count)]


@pytest.mark.parametrize(
    ("rows", "shares", "expected"),
    [
        (10, [0.7, 0.3], [7, 3]),
        (10, [1, 1, 1], [4, 3, 3]),  # equal remainders: the first source gets it
        (8, [0.5, 0.3, 0.2], [4, 2, 2]),  # quotas 4, 2.4, 1.6
        (7, [2, 1], [5, 2]),  # quotas 4.67, 2.33
        (3, [100, 1, 1], [3, 0, 0]),
    ],
)
def test_rows_follow_the_shares_by_largest_remainders(rows, shares, expected):
    assert rows_by_share(rows, shares) == expected


def test_every_batch_holds_the_parts_of_all_sources_in_order(pattern):
    for batch in batches(make(pattern), 5):
        assert batch["source_id"].numpy().tolist() == [0] * 5 + [1] * 3
        kinds = [f.SOURCE_TYPES.index("caption")] * 5 + [f.SOURCE_TYPES.index("label")] * 3
        assert batch["source_type"].numpy().tolist() == kinds
        assert batch["label_id"].numpy()[:5].tolist() == [-1] * 5
        assert np.all(batch["label_id"].numpy()[5:] >= 0)
        assert batch["token_ids"].shape == (16, tiny.LENGTH)
        assert np.all(batch["row"].numpy()[5:] % 2 == 1)  # the labelled records


def test_an_epoch_of_each_source_holds_each_of_its_rows_once(pattern):
    made = batches(make(pattern), 6)
    queries = np.concatenate([batch["row"][:5] for batch in made])
    labels = np.concatenate([batch["row"][5:] for batch in made])
    assert len(set(queries[:15])) == 15 and len(set(labels[:6])) == len(set(labels[6:12])) == 6


@pytest.mark.parametrize("sampling", ["debiased", "mixed"])
def test_workers_hold_contiguous_slices_of_the_same_global_batch(pattern, sampling):
    whole = make(pattern, sampling=sampling)
    mixers = [make(pattern, (5.0, 3.0), worker, 2, sampling) for worker in range(2)]
    for step, batch in enumerate(batches(whole, 4)):
        parts = [mixer.batch(step) for mixer in mixers]  # mixed, the first has queries only
        assert [len(part["row"]) for part in parts] == [4, 4]
        for key in batch:
            slices = tf.concat([part[key] for part in parts], 0)
            np.testing.assert_array_equal(batch[key], slices)
    assert all(mixer.positions == whole.positions for mixer in mixers)


def test_debiased_batches_never_mix_sources(pattern):
    seen = [set(b["source_id"].numpy()) for b in batches(make(pattern, sampling="debiased"), 12)]
    assert {len(ids) for ids in seen} == {1}
    assert set.union(*seen) == {0, 1}


def test_positions_of_all_parts_continue_the_same_batches(pattern):
    straight = make(pattern, image_draw_power=1.0)
    batches(straight, 4)
    resumed = make(pattern, image_draw_power=1.0)
    resumed.restore({name: list(place) for name, place in straight.positions.items()})
    for expected, batch in zip(batches(straight, 5, 4), batches(resumed, 5, 4)):
        for key in expected:
            np.testing.assert_array_equal(batch[key], expected[key])


def test_log_q_compares_images_of_different_sources(pattern):
    batch = batches(make(pattern), 1)[0]
    shares = [math.log(5 / 8 / 16)] * 5 + [math.log(3 / 8 / 8)] * 3
    np.testing.assert_allclose(batch["image_log_q"], shares, rtol=1e-6)


def test_an_epoch_is_one_pass_over_the_records_of_all_sources(pattern):
    mixer = make(pattern)
    assert mixer.steps_per_epoch() == 3  # 16 + 8 records
    assert mixer.steps_per_epoch(["labels"]) == 1
    assert make(pattern, sampling="debiased").steps_per_epoch() == 2 + 1


def test_a_phase_may_mix_some_of_the_sources(pattern):
    mixer = make(pattern)
    first = mixer.batch(0)
    only = mixer.batch(1, ["queries"])
    assert set(only["source_id"].numpy()) == {0}
    # it goes on where the last batch ended
    rows = [*first["row"].numpy()[:5], *only["row"].numpy()]
    assert len(set(rows)) == 13


def test_a_source_without_a_row_is_an_error(pattern):
    mixer = make(pattern, (100.0, 1.0))
    with pytest.raises(UserError) as caught:
        mixer.check_names([])
    assert str(caught.value) == (
        "Source 'labels' gets no row of a mixed batch of 8: its share is 0.0099. Give it a "
        "larger share, use a larger batch, or sampling: debiased."
    )
    mixer.check_names(["labels"])  # alone it fills the batch


def test_parts_of_different_widths_are_an_error(pattern):
    settings = {"inputs": ["token_ids"]}
    sources = [
        tiny.source(pattern, "a", max_clicked_queries=4, **settings),
        tiny.source(pattern, "b", max_clicked_queries=3, **settings),
    ]
    with pytest.raises(UserError) as caught:
        Mixer(sources, Feed(8), "mixed").batch(0)
    assert str(caught.value) == (
        "Sources 'a' and 'b' do not fit into one batch: 'clicked_query_hashes' is int64 [4] in one "
        "and int64 [3] in the other. Give them the same input, or use sampling: debiased."
    )


def test_training_on_mixed_batches_is_the_same_on_two_replicas_and_after_a_stop(
    tmp_path, strategies
):
    pattern = tiny.write_records(
        tmp_path / "records",
        shards=2,
        per_shard=4,
        features=lambda number: {f.LABEL_TEXT: [b"class"] * (number % 2)},
    )

    def fit(name, strategy, steps, shares=(1.0, 1.0)):
        config = TrainConfig(
            global_batch_size=4, steps=steps, shuffle_buffer=4, decay="constant", log_every=1
        )
        sources = [
            tiny.source(pattern, "queries", shares[0]),
            tiny.source(pattern, "labels", shares[1], texts="labels"),
        ]
        run_dir = tmp_path / name
        Trainer(tiny.LinearDualEncoder, config, run_dir, strategy, sources, sampling="mixed").fit()
        checkpoint = load_checkpoint(run_dir / "checkpoints" / f"step-{steps:010d}")
        return checkpoint.weights, checkpoint.state["inputs"]

    one, places = fit("one", strategies[1], 4)
    two, other_places = fit("two", strategies[2], 4)
    fit("stopped", strategies[1], 2)
    resumed, resumed_places = fit("stopped", strategies[1], 4)
    assert places == other_places == resumed_places
    assert places.keys() == {"queries", "labels"} and all(p != [0, 0, 0] for p in places.values())
    for path, value in one.items():
        np.testing.assert_allclose(two[path], value, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(resumed[path], value, rtol=1e-5, atol=1e-7)
    with pytest.raises(UserError, match="Source 'labels' gets no row of a mixed batch of 4"):
        fit("unfair", strategies[1], 4, shares=(50.0, 1.0))
