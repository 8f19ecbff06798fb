"""What questions are made of: emoji with the words that the CLDR gives them."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence

from tfx_pipeline.data.cldr import Annotation
from tfx_pipeline.data.glyphs import image_id

LANGUAGES = ("en", "zh")
_FEWEST = 5  # pictures of a word: of rarer ones, nothing could be learnt for others


@dataclasses.dataclass(frozen=True)
class WordedEmoji:
    """An emoji.

    Attributes:
        number: its place in the data set, from 1.
        image_id: name of its file without the suffix.
        split: of the image.
        group: what the CLDR's labels call its group, and its subgroup behind a slash; "" without.
        names: by language.
        words: keywords by language that other pictures have, too; the commonest first.
    """

    number: int
    image_id: str
    split: str
    group: str
    names: Mapping[str, str]
    words: Mapping[str, tuple[str, ...]]

    @property
    def top_group(self) -> str:
        """The group without its subgroup."""
        return self.group.partition("/")[0]


def make_pictures(
    emoji: Sequence[str],
    annotations: Mapping[str, Mapping[str, Annotation]],
    groups: Mapping[str, str],
    splits: Sequence[str],
) -> list[WordedEmoji]:
    """Return the pictures in order.

    Args:
        emoji: characters.
        annotations: by language and character.
        groups: by character.
        splits: of each emoji.
    """
    common = {
        language: collections.Counter(
            word for character in emoji for word in annotations[language][character].keywords
        )
        for language in LANGUAGES
    }

    def words(character: str, language: str) -> tuple[str, ...]:
        given = dict.fromkeys(annotations[language][character].keywords)
        own = [word for word in given if common[language][word] >= _FEWEST]
        return tuple(sorted(own, key=lambda word: (-common[language][word], word)))

    return [
        WordedEmoji(
            number,
            image_id(character),
            split,
            groups.get(character) or groups.get(character[0]) or "",
            {language: annotations[language][character].name for language in LANGUAGES},
            {language: words(character, language) for language in LANGUAGES},
        )
        for number, (character, split) in enumerate(zip(emoji, splits), 1)
    ]


def by_word(pictures: Sequence[WordedEmoji], language: str) -> dict[str, list[WordedEmoji]]:
    """Return the pictures of each keyword, in order."""
    found: dict[str, list[WordedEmoji]] = {}
    for picture in pictures:
        for word in picture.words[language]:
            found.setdefault(word, []).append(picture)
    return found
