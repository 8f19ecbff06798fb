"""Are the files of a released version those that were published? SHA-256 says it, at each load.

The manifest of a release lists them (key `checksums`), and so does the MODEL_CARD.md beside the
files, for whoever is given the folder alone. People may write into the card: the list must stay.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from serving import files
from serving.errors import MissingFileError, ServingError
from serving.model_card import MODEL_CARD, listed_checksums
from serving.release import INDEX, WEIGHTS, Release

REMEDY = (
    "Restore it from a copy, or go back to the release before with `vlsearch rollback`, or publish "
    "again."
)
# A list without these is none of a model.
MODEL_FILES = ("saved_model.pb",)
# A file that changed so shortly before it was read may change again within the same tick of the
# file system's clock: its digest is not kept.
_SETTLED_SECONDS = 2.0
_KEPT_DIGESTS = 10_000

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listing:
    """What the files of a folder must be.

    Attributes:
        digests: SHA-256 by path in the folder.
        source: who says so, for errors: "release 3".
    """

    digests: Mapping[str, str]
    source: str


def check_release(root: Path, release: Release, names: Iterable[str] | None = None) -> None:
    """Compare the files of a release with its checksums.

    Args:
        root: the release root.
        release: one of its releases; what has no checksums is only warned about.
        names: of the folders to look at; None is the models and the index.

    Raises:
        ServingError: a file is missing or is not what was published.
    """
    for name, version in release.folders.items():
        if name in (names if names is not None else (*release.models, INDEX)):
            needed = () if name in (INDEX, WEIGHTS) else MODEL_FILES
            check_folder(root / name / str(version), needed, release_listing(release, name))


def content_checksums(folder: Path) -> dict[str, str]:
    """SHA-256 by path of what is to stay as it is in a version's folder; not of its card.

    Raises:
        DiskError: something cannot be read.
    """
    with files.naming_errors("read", folder):
        listed = files.checksums(folder)
    listed.pop(MODEL_CARD, None)  # people may write into it
    return listed


def release_listing(release: Release, name: str) -> Listing | None:
    """Return what a release says of the files in one of its folders; None if it says nothing."""
    digests = release.checksums.get(name)
    return None if digests is None else Listing(digests, f"release {release.version}")


def check_folder(folder: Path, needed: Iterable[str], listing: Listing | None = None) -> None:
    """Compare the files of one version with their checksums.

    Digests are kept: a file whose inode, times and size are those of the last time is not read
    again. Files that are not listed are in nobody's way.

    Args:
        folder: of the version.
        needed: files that must be listed.
        listing: of the release; None is that of the model card, or none at all.

    Raises:
        ServingError: a file is missing or is not what was published; the card lists nonsense.
    """
    if listing is None:
        listing = _card_listing(folder)
        if listing is None:
            return
    else:
        _compare_card(folder, listing)
    for name in needed:
        if name not in listing.digests:
            raise ServingError(
                f"{folder / name} cannot be checked: {listing.source} lists no checksum of it. "
                f"{REMEDY}"
            )
    for name, expected in listing.digests.items():
        path = folder / name
        try:
            actual = _digests.of(path)
        except MissingFileError:
            raise ServingError(f"{path} is missing: {listing.source} lists it. {REMEDY}") from None
        if actual != expected:
            raise ServingError(
                f"{path} is damaged: {listing.source} lists the SHA-256 {expected[:12]}…, the file "
                f"has {actual[:12]}…. {REMEDY}"
            )


def _card_listing(folder: Path) -> Listing | None:
    path = folder / MODEL_CARD
    with files.naming_errors("read", path):
        if not path.exists():
            return None
    digests = listed_checksums(path)
    if digests is None:
        _warn_once(path, f"{path} lists no checksums, so the files beside it are not checked.")
        return None
    return Listing(digests, str(path))


def _compare_card(folder: Path, listing: Listing) -> None:
    """Say of a card that it does not list what the release lists; the release counts."""
    path = folder / MODEL_CARD
    try:
        same = listed_checksums(path) == dict(listing.digests)
    except ServingError as error:
        _warn_once(path, f"{error} The checksums of {listing.source} are taken.")
        return
    if not same:
        _warn_once(
            path,
            f"{path} is damaged: it does not list the checksums of {listing.source}, which are "
            "taken.",
        )


_said: set[tuple[str, tuple[int, ...]]] = set()


def _warn_once(card: Path, text: str) -> None:
    """Log a warning, again only when the card has changed."""
    with contextlib.suppress(OSError):
        said = (text, _stamp(card.stat()) if card.exists() else ())
        if said not in _said:
            _said.add(said)
            _logger.warning("%s", text)


class _Digests:
    """SHA-256 of files, kept as long as the files stay as they are. Safe to share."""

    def __init__(self) -> None:
        self._kept: dict[Path, tuple[tuple[int, ...], str]] = {}
        self._lock = threading.Lock()

    def of(self, path: Path) -> str:
        """Return the digest of a file.

        Raises:
            ServingError: it is not there, is no file, or cannot be read.
        """
        with files.naming_errors("read", path):
            status = path.stat()
            stamp = _stamp(status)
            with self._lock:
                kept = self._kept.get(path)
            if kept is not None and kept[0] == stamp:
                return kept[1]
            if not path.is_file():
                raise ServingError(f"{path} is not a file. {REMEDY}")
            digest = files.sha256(path)
        if time.time() - max(status.st_mtime, status.st_ctime) > _SETTLED_SECONDS:
            with self._lock:
                if len(self._kept) >= _KEPT_DIGESTS:
                    self._kept.clear()
                self._kept[path] = (stamp, digest)
        return digest


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    times = (status.st_mtime_ns, status.st_ctime_ns)
    return (status.st_dev, status.st_ino, status.st_size, *times)


_digests = _Digests()
