"""The pictures that scenes are composed of: emoji of one thing with a short name each."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from tfx_pipeline.data.cldr import read_annotations, read_groups
from tfx_pipeline.data.glyphs import GlyphPainter
from vl_models.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

FEWEST = 5  # pictures, which have ten combinations: enough for each split to get one
_ANIMALS = "Animals & Nature/animal-"
_FOOD = ("Food & Drink/food-fruit", "Food & Drink/food-vegetable")
# Where what one is called is true of another picture, too, one of the two is left out.
_GENERAL = ("bird", "boar", "bug", "fish", "melon", "poodle", "rooster")
_PLURALS = {
    "avocado": "avocados",
    "blowfish": "blowfish",
    "deer": "deer",
    "mouse": "mice",
    "ox": "oxen",
    "shrimp": "shrimp",
    "squid": "squid",
    "wolf": "wolves",
}
# Chinese counts by the shape or kind of a thing: by the end of its name.
_MEASURES = {"蜗牛": "只", "马": "匹", "牛": "头", "猪": "头", "鱼": "条", "蛇": "条", "龙": "条"}


@dataclasses.dataclass(frozen=True)
class NamedEmoji:
    """An emoji, and what it is called.

    Attributes:
        character: one code point.
        english: a singular noun of one word.
        chinese: a noun of at most three characters.
        measure: the Chinese measure word, as in 一只狗.
    """

    character: str
    english: str
    chinese: str
    measure: str

    @property
    def article(self) -> str:
        """`a` or `an`, for the English noun."""
        return "an" if re.match(r"(?!uni|ewe)[aeiou]", self.english) else "a"

    @property
    def plural(self) -> str:
        """The English plural."""
        noun = self.english
        if noun in _PLURALS:
            return _PLURALS[noun]
        if re.search(r"[^aeiou]y$", noun):
            return noun[:-1] + "ies"
        return noun + ("es" if re.search(r"(s|x|ch|sh|[^aeiou]o)$", noun) else "s")


def known_pictures() -> list[NamedEmoji]:
    """Return all pictures that scenes may have, in the order of the CLDR.

    They are animals, fruits and vegetables with one code point, one English word, which is no
    plural, and at most three Chinese characters, without 大 (big) or 小 (small) at the beginning.
    What one is called is true of no other.

    Raises:
        UserError: the CLDR is not installed.
    """
    english, chinese = read_annotations("en"), read_annotations("zh")
    groups = read_groups()
    found: dict[str, NamedEmoji] = {}
    for character, annotation in english.items():
        group = groups.get(character, "")
        animal = group.startswith(_ANIMALS)
        if len(character) > 1 or character not in chinese or not (animal or group in _FOOD):
            continue
        noun, name = annotation.name, chinese[character].name
        if not re.fullmatch(r"[a-z]+[a-rt-z]", noun) or not re.fullmatch(r"[一-龥]{1,3}", name):
            continue
        if noun in _GENERAL or name[0] in "大小" or name in found:
            continue
        usual = "只" if animal else "个"
        measure = next((m for end, m in _MEASURES.items() if name.endswith(end)), usual)
        found[name] = NamedEmoji(character, noun, name, measure)
    return list(found.values())


def choose_pictures(number: int) -> list[tuple[NamedEmoji, Image.Image]]:
    """Return pictures and their glyphs (RGBA, cut to what is drawn), spread over the kinds.

    The choice depends on nothing but the number.

    Raises:
        UserError: there are not so many, or a package is not installed.
    """
    painter = GlyphPainter()
    drawn = [(picture, painter.draw(picture.character)) for picture in known_pictures()]
    usable = [
        (picture, glyph.crop(glyph.getchannel("A").getbbox()))
        for picture, glyph in drawn
        if glyph is not None
    ]
    if not FEWEST <= number <= len(usable):
        raise UserError(
            f"pictures must be between {FEWEST} and {len(usable)}. Received: pictures={number}"
        )
    return [usable[i * len(usable) // number] for i in range(number)]
