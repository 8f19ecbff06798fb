"""Images of hits, read from where the index says that they are: folder, bucket or web server.

Needs no TensorFlow. Buckets are read through fsspec (extra `buckets`).
"""

from __future__ import annotations

import ipaddress
import logging
import posixpath
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from serving import files
from serving.errors import MissingFileError, ServingError
from serving.index import Hit

MOST_BYTES = 50 << 20  # of one image
_FILE, _WEB = "file", ("http", "https")
_SECONDS = 5.0  # that a web server may take

_logger = logging.getLogger(__name__)


class ImageStore:
    """Reads images by their uris. Safe to share between threads.

    Args:
        roots: folders and bucket prefixes that images may be in, beside the index's own; None
            reads whatever this user may read, which is right on one's own machine only.
        hosts: web servers (`images.example.com`) that images may come from, over http and https;
            redirects are not followed.
        private_hosts: let these hosts have addresses of private networks and of this machine.
        read_bucket: reads an object by its uri; None is fsspec.
    """

    def __init__(
        self,
        roots: Sequence[str] | None = None,
        hosts: Sequence[str] = (),
        *,
        private_hosts: bool = False,
        read_bucket: Callable[[str], bytes] | None = None,
    ):
        self._roots = roots
        self._hosts = frozenset(host.lower() for host in hosts)
        self._private_hosts = private_hosts
        self._read_bucket = read_bucket or _read_by_fsspec

    def read(self, uri: str, prefix: str | None = None) -> bytes:
        """Return the bytes of a file.

        Args:
            uri: a path, relative to the prefix if it is not absolute, or a URI.
            prefix: the index's ``source_prefix``; None where uris stand for themselves.

        Raises:
            MissingFileError: it is not there.
            ServingError: it is no file, is outside of the store, or cannot be read.
        """
        if not uri:
            raise MissingFileError("The index knows no address of this image.")
        place = _placed(uri, prefix)
        scheme = _scheme(place)
        if scheme in _WEB:
            return self._from_web(place)
        if scheme not in ("", _FILE):
            self._check_bucket(place, prefix)
            return self._read_bucket(place)
        path = _local_path(place)
        self._check_folder(path, prefix)
        with files.naming_errors("read", path):
            size = path.stat().st_size
        if size > MOST_BYTES:
            raise ServingError(f"{path} has {size:,} bytes, above {MOST_BYTES:,} for an image.")
        return files.read_bytes(path)

    def servable(self, hits: Sequence[Hit], prefix: str | None) -> list[bytes | None]:
        """Return the images of hits as image towers and rerankers take them.

        Args:
            hits: of an index.
            prefix: its ``source_prefix``.

        Returns:
            An encoded image for each hit; None where it cannot be read, or is no image.
        """
        # Needs Pillow, which searches without a reranker do without.
        from serving.images import servable_image

        images: list[bytes | None] = []
        for hit in hits:
            try:
                images.append(servable_image(self.read(hit.uri, prefix)))
            except ServingError as error:
                _logger.debug("%s", error)
                images.append(None)
        return images

    def _check_folder(self, path: Path, prefix: str | None) -> None:
        """Refuse what lies outside of the folders, links that lead out of them included."""
        if self._roots is None:
            return
        allowed = [root for root in (prefix, *self._roots) if root and _is_local(root)]
        try:
            target = path.resolve()
            inside = any(target.is_relative_to(_local_path(root).resolve()) for root in allowed)
        except (OSError, ValueError, RuntimeError):  # a NUL, or links in a circle
            inside = False
        if not inside:
            raise ServingError(
                f"{path} is outside of the image store. Name its folder with --image-root."
            )

    def _check_bucket(self, uri: str, prefix: str | None) -> None:
        if self._roots is None:
            return
        parts = unquote(uri).split("/")
        for root in (prefix, *self._roots):
            if root and uri.startswith(f"{root.rstrip('/')}/") and ".." not in parts:
                return
        raise ServingError(
            f"{uri} is outside of the image store. Name its bucket with --image-root."
        )

    def _from_web(self, url: str) -> bytes:
        import httpx

        parts = urlsplit(url)
        try:
            host, port = (parts.hostname or "").lower(), parts.port
        except ValueError:
            raise ServingError(f"{url} is no address of an image.") from None
        if host not in self._hosts or parts.username is not None:
            raise ServingError(f"Images are not read from {host}. Name it with --image-host.")
        # The address that was checked is the one that is asked: names may change in between.
        address = self._address(host, port or (443 if parts.scheme == "https" else 80))
        target = httpx.URL(url).copy_with(host=address)
        headers = {"Host": parts.netloc, "User-Agent": "vlsearch"}
        try:
            with (
                httpx.Client(timeout=_SECONDS, follow_redirects=False, trust_env=False) as client,
                client.stream(
                    "GET", target, headers=headers, extensions={"sni_hostname": host}
                ) as answer,
            ):
                if answer.status_code == 404:
                    raise MissingFileError(f"{url} is not there.")
                if answer.status_code != 200:
                    raise ServingError(f"{url} answers with status {answer.status_code}.")
                pieces, size = [], 0
                for piece in answer.iter_bytes():
                    size += len(piece)
                    if size > MOST_BYTES:
                        raise ServingError(f"{url} has more than {MOST_BYTES:,} bytes.")
                    pieces.append(piece)
                return b"".join(pieces)
        except httpx.HTTPError as error:
            raise ServingError(f"{url} cannot be read: {error or type(error).__name__}.") from error

    def _address(self, host: str, port: int) -> str:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise ServingError(f"{host} has no address: {error}.") from error
        addresses = [str(entry[4][0]) for entry in found]
        if not self._private_hosts:
            for address in addresses:
                if not ipaddress.ip_address(address.partition("%")[0]).is_global:
                    raise ServingError(
                        f"{host} has the address {address} of a private network, which images are "
                        "not read from."
                    )
        return addresses[0]


def _placed(uri: str, prefix: str | None) -> str:
    """Return a uri with what it is relative to."""
    if _scheme(uri) or prefix is None or Path(uri).is_absolute():
        return uri
    if _is_local(prefix):
        return str(_local_path(prefix) / uri)
    return posixpath.join(prefix, uri)


def _scheme(uri: str) -> str:
    return uri.partition("://")[0].lower() if "://" in uri else ""


def _is_local(place: str) -> bool:
    return _scheme(place) in ("", _FILE)


def _local_path(place: str) -> Path:
    return Path(unquote(urlsplit(place).path)) if _scheme(place) == _FILE else Path(place)


def _read_by_fsspec(uri: str) -> bytes:
    try:
        import fsspec

        with fsspec.open(uri, "rb") as stream:
            return stream.read(MOST_BYTES)
    except ImportError as error:
        raise ServingError(
            f"{uri} cannot be read: {error}. Install vlsearch[buckets], and gcsfs for gs://."
        ) from error
    except FileNotFoundError:
        raise MissingFileError(f"{uri} is not there.") from None
    except Exception as error:  # whatever a file system of fsspec raises
        raise ServingError(f"{uri} cannot be read: {error}") from error
