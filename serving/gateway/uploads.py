"""Images that people search with: limits that hold before anything is decoded."""

from __future__ import annotations

import base64
import binascii
import io

from PIL import Image, UnidentifiedImageError

from serving.errors import ServingError
from serving.images import FORMATS, servable_image


def decode_base64(text: str) -> bytes:
    """Return the bytes of an image as JSON has it, with or without `data:image/…;base64,`.

    Raises:
        ServingError: it is no base64.
    """
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ServingError("image is the base64 of an image file.") from None


def checked_image(data: bytes, most_bytes: int, most_pixels: int) -> bytes:
    """Return an uploaded image as towers read it: JPEG or PNG, upright.

    Args:
        data: a file of any format that `serving.images` reads.
        most_bytes: of the file.
        most_pixels: of the image, which its header tells.

    Raises:
        ServingError: it is too large, or no image.
    """
    if len(data) > most_bytes:
        raise ServingError(f"The image has {len(data):,} bytes; at most {most_bytes:,} are read.")
    if not data:
        raise ServingError("The image is empty.")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
    except Image.DecompressionBombError:
        raise ServingError(f"The image has more than {most_pixels:,} pixels.") from None
    except UnidentifiedImageError:
        raise ServingError(
            f"The image is none of {', '.join(FORMATS)}, or its header is broken."
        ) from None
    except Exception as error:  # whatever a decoder raises over a broken header
        raise ServingError(f"The image cannot be decoded: {error}") from error
    if width * height > most_pixels:
        raise ServingError(
            f"The image has {width} x {height} pixels; at most {most_pixels:,} are read."
        )
    return servable_image(data)
