"""Pictures of items for browsers: the file as it is, and small copies of it."""

from __future__ import annotations

import hashlib
import io
import threading
from collections import OrderedDict
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from serving.errors import MissingFileError, ServingError
from serving.image_store import ImageStore
from serving.images import FORMATS, read_image, servable_image, upright_rgb
from serving.index import Index

THUMBNAIL_SIDE = 320  # longer side in pixels: twice what the page's grid shows
_QUALITY = 82
_KEPT_BYTES = 64 << 20
# What every browser shows; others are converted.
_SHOWN = {"JPEG": "image/jpeg", "PNG": "image/png", "GIF": "image/gif", "WEBP": "image/webp"}


@dataclass(frozen=True)
class ItemPicture:
    """An encoded image with its media type and a tag that changes with its content."""

    data: bytes
    media_type: str
    tag: str

    @classmethod
    def of(cls, data: bytes, media_type: str) -> ItemPicture:
        """Return a picture with the tag of its content."""
        return cls(data, media_type, hashlib.sha256(data).hexdigest()[:24])


class Pictures:
    """Reads the images of an index's items. Safe to share between threads.

    Args:
        store: where they are.
    """

    def __init__(self, store: ImageStore):
        self._store = store
        self._lock = threading.Lock()
        self._thumbnails: OrderedDict[tuple[int, str], ItemPicture] = OrderedDict()
        self._bytes = 0

    def full(self, index: Index, item: str) -> ItemPicture:
        """Return an item's image, of formats that browsers do not show as PNG or JPEG.

        Raises:
            MissingFileError: no such item, or no image of it.
            ServingError: it cannot be read.
        """
        data = self._read(index, item)
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                kind = image.format
        except Exception as error:  # whatever a decoder raises over a broken header
            raise ServingError(f"The image of {item!r} cannot be decoded.") from error
        if kind not in _SHOWN:
            data = servable_image(data)
            kind = "JPEG" if data.startswith(b"\xff\xd8") else "PNG"
        return ItemPicture.of(data, _SHOWN[kind])

    def thumbnail(self, index: Index, release: int, item: str) -> ItemPicture:
        """Return a small copy of an item's image, of 320 px at most; kept for the next.

        Raises:
            MissingFileError: no such item, or no image of it.
            ServingError: it cannot be read.
        """
        key = (release, item)
        with self._lock:
            if key in self._thumbnails:
                self._thumbnails.move_to_end(key)
                return self._thumbnails[key]
        data = self._read(index, item)
        try:
            small = ItemPicture.of(read_image(data, _small), "image/webp")
        except (UnidentifiedImageError, Image.DecompressionBombError):
            raise ServingError(f"The image of {item!r} cannot be decoded.") from None
        except Exception as error:  # whatever a decoder raises over broken data
            raise ServingError(f"The image of {item!r} cannot be decoded: {error}") from error
        with self._lock:
            if key not in self._thumbnails:
                self._thumbnails[key] = small
                self._bytes += len(small.data)
            while self._bytes > _KEPT_BYTES:
                _, old = self._thumbnails.popitem(last=False)
                self._bytes -= len(old.data)
        return small

    def _read(self, index: Index, item: str) -> bytes:
        row = index.items.row_of(item)
        if row is None:
            raise MissingFileError(f"There is no item {item[:200]!r} in the index.")
        return self._store.read(index.items.uris[row], index.source_prefix)


def _small(image: Image.Image) -> bytes:
    if image.format in ("JPEG", "MPO"):
        image.draft("RGB", (THUMBNAIL_SIDE, THUMBNAIL_SIDE))  # decodes at a fraction of its scale
    upright = upright_rgb(image)
    upright.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    upright.save(stream, "WEBP", quality=_QUALITY, method=4)
    return stream.getvalue()
