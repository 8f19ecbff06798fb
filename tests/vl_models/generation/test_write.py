import itertools

import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from tests.vl_models.generation import markov as by_hand
from tests.vl_models.generation.markov import TOKENS, WORDS, Markov, config, padded
from vl_models.generation.write import image_seeds, write_texts

LENGTH = 6
ROWS = 5
SEEDS = tf.constant(np.random.default_rng(1).integers(0, 2**31 - 1, (ROWS, 2)), tf.int32)
RULES = [{}, {"min_length": 3}, {"no_repeat_ngram": 2}, {"min_length": 4, "no_repeat_ngram": 1}]


def write(markov, settings, seeds=SEEDS, length=LENGTH):
    """As in a served model, within a graph."""

    @tf.function(autograph=False)
    def run():
        rows = tf.constant(markov.rows)
        return write_texts(markov.step, markov.state, rows, length, settings, TOKENS, seeds)

    return run()


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_greedy_is_what_one_does_by_hand(rules, alpha):
    markov, settings = Markov(ROWS), config(method="greedy", length_penalty=alpha, **rules)
    written = write(markov, settings)
    expected = [by_hand.greedy(markov, row, LENGTH, settings) for row in range(ROWS)]
    assert written.token_ids.numpy().tolist() == [padded(text, LENGTH) for text, _ in expected]
    np.testing.assert_allclose(written.score, [score for _, score in expected], rtol=1e-5)


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize(("beams", "alpha"), [(1, 1.0), (3, 0.0), (3, 1.0), (4, 0.6)])
def test_beam_search_is_what_one_does_by_hand(rules, beams, alpha):
    markov = Markov(ROWS, seed=beams)
    settings = config(method="beam", beams=beams, length_penalty=alpha, **rules)
    written = write(markov, settings)
    expected = [by_hand.beam(markov, row, LENGTH, settings) for row in range(ROWS)]
    assert written.token_ids.numpy().tolist() == [padded(text, LENGTH) for text, _ in expected]
    np.testing.assert_allclose(written.score, [score for _, score in expected], rtol=1e-5)


def test_a_beam_as_wide_as_all_texts_finds_the_best_of_them():
    markov, length = Markov(2, seed=3), 3
    written = write(markov, config(beams=WORDS**2, length_penalty=0.5), length=length)
    for row in range(2):
        scores = {}
        for words in itertools.product(range(WORDS), repeat=length):
            text = [TOKENS.start]
            total = 0.0
            for token in words:
                if token not in by_hand.allowed(text, config()) or text[-1] == TOKENS.end:
                    break
                total += by_hand.Markov.log_probabilities(markov, row, text)[token]
                text.append(token)
            if text[-1] == TOKENS.end or len(text) == length + 1:
                scores[tuple(text)] = total / (len(text) - 1) ** 0.5
        best = max(scores, key=scores.get)
        assert written.token_ids[row].numpy().tolist() == padded(list(best), length)
        np.testing.assert_allclose(written.score[row], scores[best], rtol=1e-5)


@pytest.mark.parametrize("method", ["greedy", "beam", "sample"])
def test_lengths_and_repeated_words_obey_the_rules(method):
    settings = config(method=method, min_length=3, max_length=5, no_repeat_ngram=1)
    for row in write(Markov(ROWS, seed=7), settings, length=12).token_ids.numpy():
        ends = np.flatnonzero(row == TOKENS.end)
        text = row[1 : ends[0] if len(ends) else len(row)]
        assert row.shape == (6,) and row[0] == TOKENS.start
        assert 3 <= len(text) <= 5
        assert len(set(text.tolist())) == len(text)
        assert not set(text.tolist()) & set(TOKENS.never)
        assert (row[1 + len(text) + 1 :] == TOKENS.padding).all()


def test_where_every_word_is_a_repetition_words_repeat_rather_than_special_tokens_come():
    markov = Markov(1)
    markov.logits[:] = -30.0
    markov.logits[..., 5:7] = 0.0  # two words, and the end is far from probable
    settings = config(method="greedy", min_length=6, no_repeat_ngram=1)
    written = write(markov, settings, SEEDS[:1]).token_ids.numpy()[0, 1:]
    assert set(written.tolist()) <= {5, 6, 7, 8}


def test_random_texts_belong_to_their_seeds_alone():
    settings = config(method="sample", temperature=1.5)
    markov = Markov(ROWS)
    written = write(markov, settings).token_ids.numpy()
    np.testing.assert_array_equal(write(markov, settings).token_ids, written)
    alone = Markov(1)
    alone.logits = markov.logits[2:3]
    one = write(alone, settings, SEEDS[2:3]).token_ids.numpy()
    np.testing.assert_array_equal(one[0], written[2])
    other = write(markov, config(method="sample", temperature=1.5, seed=1)).token_ids.numpy()
    assert not np.array_equal(other, written)


def test_random_words_have_their_probabilities_and_what_is_cut_never_comes():
    rows = 4000
    markov = Markov(1)
    markov.logits, markov.rows = np.repeat(markov.logits, rows, axis=0), rows
    seeds = tf.constant(np.random.default_rng(0).integers(0, 2**31 - 1, (rows, 2)), tf.int32)
    probability = np.exp(markov.log_probabilities(0, [TOKENS.start]))
    probability[list(TOKENS.never)] = 0.0
    probability /= probability.sum()
    order = np.argsort(-probability)

    def shares(**values):
        settings = config(method="sample", max_length=1, **values)
        return np.bincount(write(markov, settings, seeds).token_ids[:, 1], minlength=WORDS) / rows

    np.testing.assert_allclose(shares(), probability, atol=0.03)
    top_2 = np.where(np.isin(np.arange(WORDS), order[:2]), probability, 0.0)
    np.testing.assert_allclose(shares(top_k=2), top_2 / top_2.sum(), atol=0.03)
    first = probability[order[0]]
    assert shares(top_p=0.9 * first)[order[0]] == 1.0
    np.testing.assert_allclose(shares(top_p=1.01 * first), top_2 / top_2.sum(), atol=0.03)
    cold = probability**2
    np.testing.assert_allclose(shares(temperature=0.5), cold / cold.sum(), atol=0.03)


@pytest.mark.parametrize("beams", [1, 3])
def test_it_is_keras_hubs_search_where_that_can_do_the_same(beams):
    markov = Markov(ROWS, seed=11)
    markov.logits[..., list(TOKENS.never)] = -1e9
    markov.logits[..., TOKENS.end] = -1e9  # KerasHub's beams go on behind an end

    def following(prompt, cache, index):
        row, before = cache
        logits, cache = markov.step(prompt[:, index - 1], index - 1, (row, before))
        return logits, None, cache

    sampler = keras_hub.samplers.GreedySampler()
    settings = config(method="greedy")
    if beams > 1:
        sampler = keras_hub.samplers.BeamSampler(num_beams=beams)
        settings = config(beams=beams)
    prompt = np.full((ROWS, LENGTH + 1), TOKENS.padding, np.int32)
    prompt[:, 0] = TOKENS.start
    theirs = sampler(following, tf.constant(prompt), cache=markov.state, index=1)
    np.testing.assert_array_equal(write(markov, settings).token_ids, theirs)


def test_equal_pixels_have_equal_seeds():
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3)).astype(np.uint8)
    seeds = image_seeds(tf.constant(images))
    assert seeds.dtype == tf.int32 and seeds.shape == (3, 2)
    np.testing.assert_array_equal(image_seeds(tf.constant(images[::-1])), seeds[::-1])
    assert len({tuple(seed) for seed in seeds.numpy().tolist()}) == 3
