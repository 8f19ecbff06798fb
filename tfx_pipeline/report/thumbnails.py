"""Small JPEG copies of images as data URIs."""

from __future__ import annotations

import base64
import io

from PIL import Image, ImageOps, UnidentifiedImageError

_SIDE = 112
_QUALITY = 72


def data_uri(encoded: bytes) -> str | None:
    """Return a square JPEG of 112 px, cropped around the centre; None if it cannot be decoded."""
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            small = ImageOps.fit(image.convert("RGB"), (_SIDE, _SIDE))
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError):
        return None
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
