"""Hypotheses about a picture in the form of SNLI-VE: JSON lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tfx_pipeline.data.emoji_tasks.pictures import LANGUAGES, WordedEmoji

_SENTENCES = {"en": "this has to do with {}", "zh": "这和{}有关"}
LABELS = ("entailment", "neutral", "contradiction")


def snli_ve_lines(
    pictures: Sequence[WordedEmoji], split: str, rng: np.random.Generator
) -> list[dict[str, str]]:
    """Return the lines of a split: for each picture and language one of every label.

    A picture entails its keywords. A keyword that other pictures of its subgroup have, and it has
    not, is neutral; one that no picture of its whole group has contradicts it.

    Args:
        pictures: all.
        split: train, val or test.
        rng: chooses keywords.
    """
    lines = []
    for language in LANGUAGES:
        for picture, label, word in _hypotheses(pictures, split, language, rng):
            key = f"{picture.image_id}#{language}-{label}"
            lines.append(
                {
                    "Flickr30K_ID": picture.image_id,
                    "gold_label": label,
                    "sentence1": picture.names[language],
                    "sentence2": _SENTENCES[language].format(word),
                    "pairID": key,
                }
            )
    return lines


def _hypotheses(
    pictures: Sequence[WordedEmoji], split: str, language: str, rng: np.random.Generator
) -> Iterator[tuple[WordedEmoji, str, str]]:
    groups = _words_of(pictures, language, lambda picture: picture.top_group)
    subgroups = _words_of(pictures, language, lambda picture: picture.group)
    # As often as pictures have them, so that the word alone does not tell the label.
    known = [word for words in groups.values() for word in words]
    far = {
        name: [word for word in known if word not in members]
        for name, members in ((name, set(words)) for name, words in groups.items())
    }
    for picture in pictures:
        if picture.split != split or not picture.group:
            continue
        own = picture.words[language]
        near = [word for word in subgroups[picture.group] if word not in own]
        # One of each label, or none: the labels stay balanced.
        if own and near and far[picture.top_group]:
            for label, words in zip(LABELS, (own, near, far[picture.top_group])):
                yield picture, label, words[int(rng.integers(len(words)))]


def _words_of(
    pictures: Sequence[WordedEmoji], language: str, group_of: Callable[[WordedEmoji], str]
) -> dict[str, list[str]]:
    """Keywords of the pictures of each group, each as often as there are such pictures."""
    found: dict[str, list[str]] = {}
    for picture in pictures:
        found.setdefault(group_of(picture), []).extend(picture.words[language])
    return found
