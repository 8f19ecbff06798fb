"""What the current release's index holds already: vectors and tokens of images that stay."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from serving.checksums import content_checksums
from serving.errors import ServingError
from serving.index import SearchIndex
from serving.release import INDEX, RELEASE_FILE, Release
from vl_models.members import IMAGE_TOWER, RERANKER


class KeptIndex(NamedTuple):
    """Folder of an index whose vectors, and whose tokens, are those of some members; or None."""

    of_vectors: str | None = None
    of_tokens: str | None = None


def kept_index(serving_root: str, members: Mapping[str, Path]) -> KeptIndex:
    """Return the current release's index, as far as the same members made it.

    Members are the same if their files are. A binary index keeps signs alone, so its vectors are
    made again; a damaged release is left alone.

    Args:
        serving_root: folder of the releases; "" if there is none.
        members: SavedModel folders that are to be released.
    """
    root = Path(serving_root)
    if not serving_root or not (root / RELEASE_FILE).is_file():
        return KeptIndex()
    try:
        release = Release.load(root)
        if release.index is None:
            return KeptIndex()
        folder = root / INDEX / str(release.index)
        index = SearchIndex.load(folder)
    except ServingError:
        return KeptIndex()
    if index.items.contents() is None:
        return KeptIndex()

    def is_same(name: str) -> bool:
        return name in members and release.checksums.get(name) == content_checksums(members[name])

    has_vectors = index.description["kind"] != "binary" and is_same(IMAGE_TOWER)
    has_tokens = index.has_image_tokens and is_same(RERANKER)
    return KeptIndex(str(folder) if has_vectors else None, str(folder) if has_tokens else None)


def too_many_vanished(serving_root: Path, built: Path, most: float) -> str:
    """Return why an index lacks too much of what the current release has; "" if it does not.

    An image store that is half mounted looks like one whose images were taken away.

    Args:
        serving_root: folder of the releases.
        built: the new index.
        most: share of the current release's images that may be gone.
    """
    release = Release.load(serving_root)
    before = SearchIndex.load(serving_root / INDEX / str(release.index)).ids
    gone = sorted(set(before) - set(SearchIndex.load(built).ids))
    if len(gone) <= most * len(before):
        return ""
    return (
        f"{len(gone):,} of {len(before):,} images of release {release.version} are gone, such as "
        f"{gone[0]!r}: more than index.max_vanished_fraction={most:g} allows. Is the image store "
        "complete? If it is, raise that."
    )
