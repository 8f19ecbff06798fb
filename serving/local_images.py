"""Images of hits, read from where the index says that they are. Needs no TensorFlow."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from serving import files
from serving.errors import ServingError
from serving.index import Hit

_FILE = "file"

_logger = logging.getLogger(__name__)


def read_local_images(hits: Sequence[Hit], prefix: str | None) -> list[bytes | None]:
    """Return the images of hits as image towers and rerankers take them.

    Args:
        hits: their ``uri`` is a path, relative to the prefix if it is not absolute, or file://.
        prefix: the index's ``source_prefix``; None where uris stand for themselves.

    Returns:
        An encoded image for each hit; None where it is no file of this machine, or no image.
    """
    return [_read(hit.uri, prefix) for hit in hits]


def _read(uri: str, prefix: str | None) -> bytes | None:
    path = _local_path(uri, prefix)
    if path is None:
        return None
    # Needs Pillow, which searches without a reranker do without.
    from serving.images import servable_image

    try:
        return servable_image(files.read_bytes(path))
    except ServingError as error:
        _logger.debug("%s", error)
        return None


def _local_path(uri: str, prefix: str | None) -> Path | None:
    """Where a uri is on this machine; None for what is not."""
    if not uri:
        return None
    scheme = urlsplit(uri).scheme if "://" in uri else ""
    if scheme == _FILE:
        return Path(unquote(urlsplit(uri).path))
    if scheme:
        return None
    if Path(uri).is_absolute() or prefix is None:
        return Path(uri)
    base = _local_path(prefix, None)
    return None if base is None else base / uri
