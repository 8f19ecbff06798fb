"""Image loading, checks and re-encoding: header first, then pixels, then JPEG or PNG."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from urllib.parse import unquote

from PIL import Image, UnidentifiedImageError

from serving.images import FORMATS, JPEG_MAX_SIDE, read_image, upright_rgb
from tfx_pipeline.data.config import ImageConfig
from tfx_pipeline.data.contract import Reason
from tfx_pipeline.storage.objects import read_bytes
from tfx_pipeline.storage.uris import is_uri
from vl_models.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")
_LOSSLESS = ("PNG", "GIF", "BMP")


@dataclasses.dataclass
class ImageProblem(Exception):
    """An image that cannot be used: the reason for the contract, the message for a person."""

    reason: Reason
    message: str

    def __str__(self) -> str:
        return self.message


def strip_suffix(image_id: str) -> str:
    """Return an id without the suffix of an image file; other dots stay."""
    lowered = image_id.lower()
    for suffix in SUFFIXES:
        if lowered.endswith(suffix) and len(image_id) > len(suffix):
            return image_id[: -len(suffix)]
    return image_id


def resolve_uri(uri: str, root: str | None) -> str:
    """The path or URI to open: `file://` unwrapped, relative paths under the image folder."""
    if uri.startswith("file://"):
        # By hand: urlsplit raises over brackets, and cuts at "?" and "#".
        return unquote("/" + uri.removeprefix("file://").partition("/")[2])
    if is_uri(uri) or Path(uri).is_absolute() or root is None:
        return uri
    return f"{root.rstrip('/')}/{uri}"


def load_bytes(path: str, max_bytes: int) -> bytes:
    """Read an image file of at most `max_bytes`.

    Raises:
        ImageProblem: missing, empty or too large, or its scheme is not one that is fetched.
    """
    if path.startswith(("http://", "https://")):
        raise ImageProblem(
            Reason.IMAGE_MISSING, f"{path}: images are not fetched over HTTP; download them first"
        )
    try:
        if is_uri(path):
            data = read_bytes(path, max_bytes + 1)
        else:
            with Path(path).open("rb") as stream:
                data = stream.read(max_bytes + 1)
    except UserError as error:  # another scheme, or no way to the bucket
        raise ImageProblem(Reason.IMAGE_MISSING, str(error)) from error
    except Exception as error:  # whatever a name that is none makes a filesystem raise
        detail = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ImageProblem(Reason.IMAGE_MISSING, f"{path}: cannot be opened ({detail})") from error
    if len(data) > max_bytes:
        message = f"{path}: more than {max_bytes:,} bytes (data.max_bytes)"
        raise ImageProblem(Reason.IMAGE_TOO_LARGE, message)
    return data


def encode_image(data: bytes, config: ImageConfig) -> bytes:
    """Check an image and re-encode it for training.

    The header is judged before a pixel is decoded. The result is RGB (see
    `serving.images.upright_rgb`) without metadata, its shorter side at most
    `config.shorter_side`, its aspect ratio kept: a JPEG, or a PNG where a lossless original
    is not larger that way or a side is too long for JPEG. Broken metadata do not matter.

    Raises:
        ImageProblem: empty, undecodable, truncated, or more pixels than `config.max_pixels`.
    """
    if not data:
        raise ImageProblem(Reason.IMAGE_EMPTY, "the image has 0 bytes")
    try:
        return read_image(data, lambda image: _encode_picture(image, config))
    except ImageProblem:
        raise
    except Exception as error:  # Pillow has no single class for broken data
        raise _undecodable(error, config) from error


def _encode_picture(image: Image.Image, config: ImageConfig) -> bytes:
    width, height = image.size
    if width * height > config.max_pixels:
        raise _too_large(f"{width} x {height}", config)
    if width * height == 0:
        raise ImageProblem(Reason.IMAGE_EMPTY, f"the image has {width} x {height} pixels")
    lossless = image.format in _LOSSLESS
    small = _shrink(image, config.shorter_side)
    if max(small.size) > JPEG_MAX_SIDE:
        return _encode(small, "PNG")
    encoded = _encode(small, "JPEG", quality=config.quality)
    if lossless:
        png = _encode(small, "PNG")
        if len(png) <= len(encoded):
            return png
    return encoded


def _undecodable(error: Exception, config: ImageConfig) -> ImageProblem:
    if isinstance(error, UnidentifiedImageError):
        message = f"not an image of the formats {', '.join(FORMATS)}, or its header is broken"
        return ImageProblem(Reason.IMAGE_UNDECODABLE, message)
    if isinstance(error, Image.DecompressionBombError):
        # Pillow's own bound on headers, above ours: it raises before the size can be read.
        return _too_large("too many", config)
    text = str(error) or type(error).__name__
    cut = "truncated" in text.lower() or isinstance(error, EOFError)
    reason = Reason.IMAGE_TRUNCATED if cut else Reason.IMAGE_UNDECODABLE
    return ImageProblem(reason, f"cannot be decoded: {text}")


def _too_large(pixels: str, config: ImageConfig) -> ImageProblem:
    return ImageProblem(
        Reason.IMAGE_TOO_LARGE,
        f"{pixels} pixels by its header, more than {config.max_pixels:,} "
        "(data.max_pixels); it was not decoded",
    )


def _shrink(image: Image.Image, shorter_side: int) -> Image.Image:
    """Decode, turn upright and shrink; never enlarge."""
    width, height = image.size
    scale = shorter_side / min(width, height)
    if scale >= 1:
        return upright_rgb(image)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    # JPEG's decoder scales by 1/2, 1/4, 1/8 for free, to no less than this size.
    image.draft("RGB", size)
    flat = upright_rgb(image)
    if flat.size != image.size:  # turned by its orientation
        size = size[::-1]
    return flat if flat.size == size else flat.resize(size, Image.Resampling.BICUBIC)


def _encode(image: Image.Image, kind: str, **options: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()
