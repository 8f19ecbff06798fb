"""Pictures of emoji: the glyphs of Noto Color Emoji, one for each character that it has."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from tfx_pipeline.data.cldr import installed

if TYPE_CHECKING:
    from PIL import Image

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
FONT_PACKAGE = "fonts-noto-color-emoji"
CANVAS = (136, 128)  # width and height of a drawn glyph, pixels
_SIZE = 109  # the font's one bitmap size


def image_id(character: str) -> str:
    """Id of an emoji: its code points, as in `u1f600`."""
    return "u" + "-".join(f"{ord(c):x}" for c in character)


class GlyphPainter:
    """Draws each glyph of the font once.

    Raises:
        UserError: the font is not installed; names the package.
    """

    def __init__(self) -> None:
        from PIL import ImageFont

        self._font = ImageFont.truetype(str(installed(FONT, FONT_PACKAGE)), _SIZE)
        self._width = self._font.getlength("\U0001f600")
        self._seen: set[bytes] = set()

    def draw(self, character: str) -> Image.Image | None:
        """Return the glyph, RGBA of the size `CANVAS` on a transparent ground.

        None if the font has no glyph of its own for the character: it draws several, or nothing,
        or what an earlier character got.
        """
        from PIL import Image, ImageDraw

        if self._font.getlength(character) != self._width:
            return None
        glyph = Image.new("RGBA", CANVAS, (255, 255, 255, 0))
        ImageDraw.Draw(glyph).text((0, 0), character, font=self._font, embedded_color=True)
        digest = hashlib.sha256(glyph.tobytes()).digest()
        if glyph.getchannel("A").getbbox() is None or digest in self._seen:
            return None
        self._seen.add(digest)
        return glyph
