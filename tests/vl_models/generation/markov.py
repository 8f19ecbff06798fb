"""A language of which the next word depends on the last two: searches by hand have an end."""

import numpy as np
import tensorflow as tf

from vl_models.generation.config import CaptionConfig, CaptionTokens

WORDS = 9
TOKENS = CaptionTokens()


class Markov:
    """Random log-probabilities of the next token by row, last and last but one token."""

    def __init__(self, rows, seed=0):
        shape = (rows, WORDS, WORDS, WORDS)
        logits = np.random.default_rng(seed).normal(scale=1.5, size=shape)
        self.logits = logits.astype(np.float32)
        self.rows = rows

    @property
    def state(self):
        return tf.range(self.rows), tf.zeros([self.rows], tf.int32)

    def step(self, token_ids, place, state):
        row, before = state
        logits = tf.gather_nd(self.logits, tf.stack([row, before, token_ids], axis=1))
        return logits, (row, token_ids)

    def log_probabilities(self, row, text):
        before = text[-2] if len(text) > 1 else 0
        logits = self.logits[row, before, text[-1]].astype(np.float64)
        return logits - np.log(np.exp(logits).sum())


def allowed(text, config):
    """Tokens that may follow, the start token in front of the text."""
    size = config.no_repeat_ngram
    written = text[1:]
    seen = {tuple(written[i : i + size]) for i in range(len(written) - size + 1)} if size else set()
    return [
        token
        for token in range(WORDS)
        if token not in TOKENS.never
        and not (token == TOKENS.end and len(written) < config.min_length)
        and (not size or tuple([*written, token][-size:]) not in seen or len(written) < size - 1)
    ]


def greedy(markov, row, length, config):
    text, total = [TOKENS.start], 0.0
    while len(text) <= length and (len(text) == 1 or text[-1] != TOKENS.end):
        found = markov.log_probabilities(row, text)
        token = max(allowed(text, config), key=lambda one: found[one])
        text, total = [*text, token], total + found[token]
    return text, total / (len(text) - 1) ** config.length_penalty


def beam(markov, row, length, config):
    """Beam search as `beam_search` describes it, over lists."""
    alive, best = [([TOKENS.start], 0.0)], ([], -np.inf)
    for place in range(length):
        ways = []
        for text, total in alive:
            found = markov.log_probabilities(row, text)
            ways += [([*text, token], total + found[token]) for token in allowed(text, config)]
        ways = sorted(ways, key=lambda way: -way[1])[: 2 * config.beams]
        for text, total in ways:
            score = total / (place + 1) ** config.length_penalty
            complete = text[-1] == TOKENS.end or place + 1 == length
            if complete and score > best[1]:
                best = (text, score)
        alive = [way for way in ways if way[0][-1] != TOKENS.end][: config.beams]
    return best


def padded(text, length):
    return text + [TOKENS.padding] * (length + 1 - len(text))


def config(**values):
    return CaptionConfig(**{"min_length": 0, "no_repeat_ngram": 0, **values})
