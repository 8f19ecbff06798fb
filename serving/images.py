"""Pictures of any format to what towers read: upright, 8-bit RGB. Needs Pillow (extra `images`).

One code for the training data (`tfx_pipeline.data.images`) and for clients, which convert what the
image tower cannot decode by itself.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageChops, UnidentifiedImageError
from PIL.Image import Transpose

from serving.errors import ServingError
from serving.image_metadata import without_metadata

T = TypeVar("T")

# Only plain raster decoders: Pillow's others (EPS, …) start programs or read much else.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
JPEG_MAX_SIDE = 65_500  # libjpeg's bound

_TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
# PNG names its transparent colour in the file's depth; Pillow decodes to 8 bits.
_KEY_TO_EIGHT_BITS = {"L;2": lambda v: v * 85, "L;4": lambda v: v * 17, "RGB;16B": lambda v: v >> 8}
# Tags of TIFF.
_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
_WHITE_IS_ZERO, _UNSIGNED = 0, 1


def servable_image(data: bytes) -> bytes:
    """Return an image as bytes that the image tower decodes, with the same content.

    JPEG and upright PNG are returned as they are: the tower reads the orientation tag of JPEG. Of
    other formats the first frame is made upright RGB, on white, and encoded: WebP and AVIF as JPEG
    of quality 95, TIFF, BMP and GIF as PNG.

    Args:
        data: a whole file: JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF.

    Raises:
        ServingError: it cannot be decoded.
    """
    try:
        return read_image(data, lambda image: _servable(image) or data)
    except UnidentifiedImageError as error:
        raise ServingError(
            f"The image is none of {', '.join(FORMATS)}, or its header is broken."
        ) from error
    except Exception as error:  # whatever a decoder raises over broken data
        raise ServingError(f"The image cannot be decoded: {error}") from error


def _servable(image: Image.Image) -> bytes | None:
    """Return the image encoded anew, None if towers decode it as it is."""
    if image.format in ("JPEG", "MPO"):
        return None
    lossy = image.format in ("WEBP", "AVIF") and max(image.size) <= JPEG_MAX_SIDE
    upright = upright_rgb(image)
    if image.format == "PNG" and _orientation(image) == 1:
        return None
    stream = io.BytesIO()
    if lossy:
        upright.save(stream, "JPEG", quality=95, subsampling=0)
    else:
        upright.save(stream, "PNG")
    return stream.getvalue()


def read_image(data: bytes, read: Callable[[Image.Image], T]) -> T:
    """Open a file and return what ``read`` makes of the image.

    If either fails, both are tried once more without the file's metadata, which Pillow reads on
    the way and which may be all that is broken.

    Raises:
        Exception: whatever ``read`` or Pillow raise.
    """
    try:
        return _read(data, read)
    except Exception:
        bare = without_metadata(data)
        if bare == data:
            raise
    return _read(bare, read)


def _read(data: bytes, read: Callable[[Image.Image], T]) -> T:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        return read(image)


def upright_rgb(image: Image.Image) -> Image.Image:
    """Decode the first frame to 8-bit RGB: transparency on white, turned by its EXIF orientation.

    16-bit values lose their low byte. Greys of 32 bits, whose white no format defines, are scaled
    from the smallest of the usual ranges that holds all their values: 0 to 1 (floating point
    only), 255, 65,535, or the whole range (integers only). A colour profile is not applied. EXIF
    data that cannot be read turn nothing.

    Args:
        image: opened and not yet decoded.

    Raises:
        ValueError: greys below 0, above every usual range or not finite; a colour space without
            conversion to RGB.
        Exception: whatever Pillow's decoders raise over broken data.
    """
    tiles = getattr(image, "tile", [])  # how the file holds the pixels; of opened images only
    rawmode = tiles[0].args if image.format == "PNG" and tiles else None
    image.load()
    flat = _rgb(image, _transparent_key(image, rawmode))
    turn = _TURNS.get(_orientation(image))
    return flat if turn is None else flat.transpose(turn)


def _rgb(image: Image.Image, key: object) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        greys = _greys(image)
        if key is not None:
            greys[np.asarray(image) == key] = 255
        return Image.fromarray(greys).convert("RGB")
    if image.mode == "CMYK" and image.format in ("JPEG", "MPO") and "adobe" not in image.info:
        # Pillow takes every CMYK JPEG for inverted; only Adobe's are.
        image = ImageChops.invert(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    if key is not None:
        image.info["transparency"] = key
    rgba = image.convert("RGBA")
    flat = Image.new("RGB", rgba.size, "white")
    flat.paste(rgba, mask=rgba.getchannel("A"))
    return flat


def _transparent_key(image: Image.Image, rawmode: object) -> object:
    """Return the colour that is transparent, in the range of the decoded values; None: none is."""
    key = image.info.get("transparency")
    scale = _KEY_TO_EIGHT_BITS.get(rawmode) if isinstance(rawmode, str) else None
    if scale is None or key is None:
        return key
    return tuple(map(scale, key)) if isinstance(key, tuple) else scale(key)


def _greys(image: Image.Image) -> np.ndarray:
    """Greys of more than 8 bits as uint8 [height, width]."""
    values = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    if image.mode.startswith("I;16"):
        bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
        greys = (values >> (bits - 8)).astype(np.uint8)
    else:
        if image.mode == "I" and tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))[0] == _UNSIGNED:
            values = values.view(np.uint32)
        greys = _scaled(values)
    return 255 - greys if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else greys


def _scaled(values: np.ndarray) -> np.ndarray:
    lowest, highest = values.min(), values.max()
    integers = np.issubdtype(values.dtype, np.integer)
    whites = (255, 65_535, np.iinfo(values.dtype).max) if integers else (1, 255, 65_535)
    white = next((white for white in whites if highest <= white), None)
    if white is None or not lowest >= 0:  # so is NaN
        raise ValueError(
            f"greys from {lowest:g} to {highest:g}, and no telling which is black and which is "
            "white; save it with 8 or 16 bits"
        )
    if integers:
        return (values // ((int(white) + 1) // 256)).clip(0, 255).astype(np.uint8)
    return np.rint(values * (255 / white)).astype(np.uint8)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if there is none that can be read."""
    exif = Image.Exif()
    try:
        exif.load(image.info.get("exif", b""))
        value = exif.get(ExifTags.Base.Orientation)
    except Exception:  # Pillow raises what it likes over wrong types; the picture is fine
        return 1
    return value if isinstance(value, int) and value in _TURNS else 1
