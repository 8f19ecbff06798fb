"""Sentences about two pictures in the form of NLVR2: JSON lines, and the images of each pair."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tfx_pipeline.data.emoji_tasks.pictures import LANGUAGES, WordedEmoji, by_word

_SPLITS = {"train": "train", "val": "dev", "test": "test"}
_PER_PICTURE = 2  # sentences over pictures, in each language
_SENTENCES = {
    "both": {
        "en": "the word “{}” goes with both pictures",
        "zh": "两张图都和“{}”有关",
    },
    "one": {
        "en": "the word “{}” goes with only one of the two pictures",
        "zh": "只有一张图和“{}”有关",
    },
    "sides": {
        "en": "“{}” goes with the left picture and “{}” with the right one",
        "zh": "左图和“{}”有关，右图和“{}”有关",
    },
}
Pair = tuple[WordedEmoji, WordedEmoji]
Choose = Callable[[Sequence[Any]], Any]


def nlvr2_lines(
    pictures: Sequence[WordedEmoji], split: str, rng: np.random.Generator
) -> tuple[list[dict[str, str]], dict[str, WordedEmoji]]:
    """Return the lines of a split, and the pictures of the pairs by the name of the image.

    Every sentence is there twice, true of one pair and false of another one with the same or like
    pictures, so that neither sentence nor picture tells the label.

    Args:
        pictures: all.
        split: train, val or test.
        rng: chooses words and pictures.
    """
    own = [picture for picture in pictures if picture.split == split]
    lines: list[dict[str, str]] = []
    images: dict[str, WordedEmoji] = {}
    made = (
        sentence
        for language in LANGUAGES
        for sentence in _sentences(own, language, _PER_PICTURE * len(own), rng)
    )
    for number, (text, pairs) in enumerate(made):
        for turn, (label, pair) in enumerate(pairs):
            name = f"{_SPLITS[split]}-{number}-{turn}"
            lines.append({"sentence": text, "identifier": f"{name}-0", "label": label})
            images |= {f"{name}-img{side}": picture for side, picture in enumerate(pair)}
    return lines, images


def _sentences(
    own: Sequence[WordedEmoji], language: str, number: int, rng: np.random.Generator
) -> Iterator[tuple[str, list[tuple[str, Pair]]]]:
    """Sentences with a pair that each is true of and one that it is false of."""
    members = by_word(own, language)
    # A word needs two pictures, and more without it.
    words = [word for word, found in members.items() if 2 <= len(found) <= len(own) // 2]
    if len(words) < 2:
        return

    def choose(items: Sequence[Any]) -> Any:
        return items[int(rng.integers(len(items)))]

    for turn in range(number):
        kind = tuple(_SENTENCES)[turn % len(_SENTENCES)]
        word = choose(words)
        with_word = members[word]
        without = [picture for picture in own if picture not in with_word]
        first = choose(with_word)
        second = choose([picture for picture in with_word if picture is not first])
        mixed = (first, choose(without))
        mixed = mixed if rng.integers(2) else (mixed[1], mixed[0])
        if kind == "sides":
            # A picture that has not the first word, with a word that the first picture has not.
            partner = choose(without)
            others = [w for w in partner.words[language] if w not in first.words[language]]
            if not others:
                continue
            text = _SENTENCES[kind][language].format(word, choose(others))
            yield text, [("True", (first, partner)), ("False", (partner, first))]
            continue
        text = _SENTENCES[kind][language].format(word)
        labels = ("True", "False") if kind == "both" else ("False", "True")
        yield text, list(zip(labels, ((first, second), mixed)))
