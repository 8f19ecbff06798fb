import numpy as np
import pytest

from tfx_pipeline.data.click_model import PAGE, ClickModel, Simulator


@pytest.fixture(scope="module")
def simulated():
    rng = np.random.default_rng(0)
    keys = np.unique(rng.integers(0, 300 * 500, 900))
    grade = rng.integers(1, 3, len(keys))
    forbidden = np.unique(rng.integers(0, 300 * 500, 20_000))
    model = ClickModel()
    simulator = Simulator(keys // 500, keys % 500, grade, forbidden, 500, model, seed=5)
    return keys, grade, forbidden, model, simulator.run(200_000)


def test_pages_are_ranked_without_gaps_or_repeats(simulated):
    shown = simulated[-1]
    assert len(shown.session) >= 200_000
    start = np.flatnonzero(np.diff(shown.session, prepend=-1))
    np.testing.assert_array_equal(shown.session[start], np.arange(len(start)))
    assert (shown.position[start] == 1).all()
    inside = np.ones(len(shown.session), bool)
    inside[start] = False
    assert (np.diff(shown.position)[inside[1:]] == 1).all()
    assert shown.position.max() == PAGE
    once = shown.session * 500 + shown.image
    assert len(np.unique(once)) == len(once)


def test_click_rates_follow_the_model(simulated):
    *_, model, shown = simulated
    for grade in (0, 1, 2):
        for position in (1, 3):
            here = (shown.grade == grade) & (shown.position == position)
            rate = shown.clicked[here].mean()
            expected = model.attraction[grade] / position**model.eta
            # Four standard deviations of a binomial share.
            bound = 4 * np.sqrt(expected * (1 - expected) / here.sum()) + 1e-9
            assert abs(rate - expected) < bound


def test_forbidden_pairs_are_never_shown_as_noise(simulated):
    keys, grade, forbidden, _, shown = simulated
    pair = shown.query * 500 + shown.image
    assert not np.isin(pair[shown.grade == 0], forbidden).any()
    assert not np.isin(pair[shown.grade == 0], keys).any()
    grades = dict(zip(keys, grade, strict=True))
    true = shown.grade > 0
    assert all(grades[k] == g for k, g in zip(pair[true][:2000], shown.grade[true], strict=False))


def test_queries_have_a_head_and_a_tail(simulated):
    shown = simulated[-1]
    counts = np.sort(np.bincount(shown.query[shown.position == 1]))[::-1]
    assert counts[:10].sum() > 0.25 * counts.sum()
