"""Hypotheses about a picture in the form of SNLI-VE: JSON lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tfx_pipeline.data.emoji_tasks.pictures import LANGUAGES, WordedEmoji

_SENTENCES = {"en": "this has to do with {}", "zh": "这和{}有关"}
_PER_PICTURE = 3  # sentences at most, in each language
LABELS = ("entailment", "neutral", "contradiction")


def snli_ve_lines(
    pictures: Sequence[WordedEmoji], split: str, rng: np.random.Generator
) -> list[dict[str, str]]:
    """Return the lines of a split: every sentence with a picture of each label.

    A picture entails its keywords. A keyword that other pictures of its subgroup have, and it has
    not, is neutral; one that no picture of its whole group has contradicts it. Since a sentence is
    as often of one label as of another, it does not tell the label by itself.

    Args:
        pictures: all.
        split: train, val or test.
        rng: chooses keywords and pictures.
    """
    lines = []
    for language in LANGUAGES:
        for number, (word, shown) in enumerate(_sentences(pictures, split, language, rng)):
            for label, picture in zip(LABELS, shown):
                lines.append(
                    {
                        "Flickr30K_ID": picture.image_id,
                        "gold_label": label,
                        "sentence1": picture.names[language],
                        "sentence2": _SENTENCES[language].format(word),
                        "pairID": f"{split}-{language}-{number}-{label}",
                    }
                )
    return lines


def _sentences(
    pictures: Sequence[WordedEmoji], split: str, language: str, rng: np.random.Generator
) -> Iterator[tuple[str, tuple[WordedEmoji, ...]]]:
    """Keywords of each picture, with one picture of each label in the order of `LABELS`."""
    groups = _words_of(pictures, language, lambda picture: picture.top_group)
    subgroups = _words_of(pictures, language, lambda picture: picture.group)
    shown = [picture for picture in pictures if picture.split == split and picture.group]
    for picture in shown:
        own = picture.words[language]
        for place in rng.permutation(len(own))[:_PER_PICTURE]:
            word = own[place]
            near = [
                other
                for other in shown
                if word in subgroups[other.group] and word not in other.words[language]
            ]
            far = [other for other in shown if word not in groups[other.top_group]]
            # One of each label, or none: the labels stay balanced.
            if near and far:
                others = (choices[int(rng.integers(len(choices)))] for choices in (near, far))
                yield word, (picture, *others)


def _words_of(
    pictures: Sequence[WordedEmoji], language: str, group_of: Callable[[WordedEmoji], str]
) -> dict[str, set[str]]:
    """Keywords of the pictures of each group."""
    found: dict[str, set[str]] = {}
    for picture in pictures:
        found.setdefault(group_of(picture), set()).update(picture.words[language])
    return found
