"""Releases in a bucket: published there, staged from there, rolled back there.

A bucket holds what a release root holds (see `serving.release`) and beside it
``checksums/<version>.json``, SHA-256 of each file by its path. An object store has no rename, so
order makes it safe: the files of a version, then its checksums, which say that it is complete,
then its manifest, `models.config`, and `release.json` at the end. Killed at any moment, the release
before stays current, and publishing again finishes.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

from serving import files
from serving.checksums import check_release
from serving.commands import command
from serving.errors import ServingError
from serving.model_config import CONFIG_FILE, model_config_text
from serving.publish import adopt_release
from serving.release import RELEASE_FILE, WEIGHTS, Release, manifest_text
from tfx_pipeline.fingerprint import fingerprint_text
from tfx_pipeline.storage import objects
from tfx_pipeline.storage.uris import check_place, join
from vl_models.errors import UserError

CACHE_VARIABLE = "VLSEARCH_CACHE"
_CHECKSUMS = "checksums"
_HISTORY = "releases"
_LOCK = ".storage.lock"
_LOCK_TIMEOUT = 600.0


def publish(root: Path, uri: str) -> Release:
    """Copy the current release of a root to a bucket, with the one before it, and make it current.

    What is there already is not copied again.

    Raises:
        UserError: the bucket cannot be written, or holds other releases of the same numbers.
        ServingError: there is no complete release, or it is damaged.
    """
    uri = check_place(uri)
    release = Release.load(root)
    with files.exclusive_lock(root / _LOCK, _LOCK_TIMEOUT):
        objects.check_access(uri)
        previous = None if release.previous is None else Release.load(root, release.previous)
        for version in filter(None, (previous, release)):
            _upload_version(root, uri, version)
        config = model_config_text(uri, release, previous)
        objects.write_bytes(join(uri, CONFIG_FILE), config.encode())
        objects.write_bytes(join(uri, RELEASE_FILE), manifest_text(release).encode())
    return release


def stage(uri: str, root: Path, replace: bool = False, weights: bool = True) -> Release:
    """Copy the current release of a bucket into a root on the local disk and make it current.

    Every file is checked against its checksum; a version that is there already is not copied.

    Args:
        uri: of the bucket.
        root: release root; made if it is not there.
        replace: whether versions of other content give way; else they are an error.
        weights: whether to copy the weights for warm starts, too, which nobody serves.

    Raises:
        UserError: there is no release, it is damaged, or ``root`` holds another of the same number.
    """
    uri = check_place(uri)
    release = read_release(uri)
    if release is None:
        raise UserError(
            f"{uri} is not a release root: it has no {RELEASE_FILE}. Publish one by `vlsearch run` "
            f"with release.publish_to, or name the right folder."
        )
    root.mkdir(parents=True, exist_ok=True)
    with files.exclusive_lock(root / _LOCK, _LOCK_TIMEOUT):
        expected = _read_checksums(uri, release.version)
        if expected is None:
            raise UserError(
                f"{uri} names release {release.version}, but has no {_CHECKSUMS}/"
                f"{release.version}.json, which says that it is complete. Publish it again."
            )
        noted = root / _CHECKSUMS / f"{release.version}.json"
        text = json.dumps(expected)
        complete = noted.is_file() and noted.read_bytes() == text.encode()
        if complete and replace:  # what is damaged here is copied again
            complete = _is_good(root, release)
        for folder in _folders(release, weights):
            if not (complete and (root / folder).is_dir()):
                _download_folder(uri, root, folder, expected, replace)
        noted.parent.mkdir(exist_ok=True)
        files.write_atomically(noted, text)
        return adopt_release(root, release)


def stage_to_cache(uri: str) -> tuple[Path, Release]:
    """The current release of a bucket in this user's cache folder, for serving: its root there.

    The folder is `$VLSEARCH_CACHE`, or `vlsearch` in the user's cache folder.

    Raises:
        UserError: there is no release, or the bucket cannot be read.
    """
    uri = check_place(uri)
    objects.check_access(uri)
    root = _cache_root(uri)
    return root, stage(uri, root, replace=True, weights=False)


def fetch_weights(uri: str, release: Release) -> Path:
    """The weights of a release in a bucket, copied to this user's cache folder: their folder.

    Raises:
        UserError: they are not complete, or the bucket cannot be read.
    """
    uri = check_place(uri)
    root, folder = _cache_root(uri), f"{WEIGHTS}/{release.weights}"
    expected = weights_checksums(uri, release)
    root.mkdir(parents=True, exist_ok=True)
    with files.exclusive_lock(root / _LOCK, _LOCK_TIMEOUT):
        _download_folder(uri, root, folder, expected, replace=True)
    return root / folder


def weights_checksums(uri: str, release: Release) -> dict[str, str]:
    """SHA-256 by path below the root of the files of a release's weights.

    Raises:
        UserError: they are not there.
    """
    uri = check_place(uri)
    listed = _read_checksums(uri, release.version) or {}
    found = {n: d for n, d in listed.items() if n.startswith(f"{WEIGHTS}/{release.weights}/")}
    if not found:
        raise UserError(
            f"{uri} holds no weights of release {release.version}. Publish it again, or name "
            "another version."
        )
    return found


def _cache_root(uri: str) -> Path:
    base = os.environ.get(CACHE_VARIABLE)
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(base) if base else user / "vlsearch"
    return (folder / "releases" / fingerprint_text(uri)).resolve()


def follow(root: Path, uri: str) -> int:
    """Make the bucket's current release that of a root, too, before a run is submitted.

    So a run on a new disk, or after a roll-back in the bucket, is compared with what is served.

    Returns:
        The highest version in the bucket; 0 if it holds no release.

    Raises:
        UserError: the root holds another release of the same number.
    """
    objects.check_access(uri)
    release = read_release(uri)
    if release is None:
        return 0
    stage(uri, root)
    names = (stamp.uri.rpartition("/")[2] for stamp in objects.list_objects(join(uri, _HISTORY)))
    stems = (name.removesuffix(".json") for name in names)
    return max((int(stem) for stem in stems if stem.isdigit()), default=release.version)


def roll_back_bucket(uri: str) -> Release:
    """Make the release before the current one current again in a bucket; servers follow.

    Raises:
        UserError: there is none, or it is not complete.
    """
    uri = check_place(uri)
    objects.check_access(uri)
    current = read_release(uri)
    if current is None:
        raise UserError(f"{uri} is not a release root: it has no {RELEASE_FILE}.")
    release = None if current.previous is None else read_release(uri, current.previous)
    if release is None or _read_checksums(uri, release.version) is None:
        raise UserError(
            f"Release {current.version} in {uri} has no release before it to roll back to."
        )
    before = None if release.previous is None else read_release(uri, release.previous)
    if before is None or _read_checksums(uri, before.version) is None:
        before, release = None, dataclasses.replace(release, previous=None)
    # Searchers move first: the older version is still loaded.
    objects.write_bytes(join(uri, RELEASE_FILE), manifest_text(release).encode())
    objects.write_bytes(join(uri, CONFIG_FILE), model_config_text(uri, release, before).encode())
    return release


def read_release(uri: str, version: int | None = None) -> Release | None:
    """The manifest of one release of a bucket, or of the current one; None if it has none."""
    name = (RELEASE_FILE,) if version is None else (_HISTORY, f"{version}.json")
    place = join(uri, *name)
    try:
        return Release.parse(objects.read_bytes(place).decode("utf-8"), place)
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise ServingError(f"{place} is not UTF-8 text: {error}. Publish it again.") from error


def _read_checksums(uri: str, version: int) -> dict[str, str] | None:
    """SHA-256 by path below the root; None where the version is not complete."""
    place = join(uri, _CHECKSUMS, f"{version}.json")
    try:
        content = json.loads(objects.read_bytes(place))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place} is not valid JSON: {error}. Publish it again.") from error
    if not isinstance(content, dict) or not all(isinstance(d, str) for d in content.values()):
        raise UserError(f"{place} must hold an object of checksums. Publish it again.")
    return content


def _folders(release: Release, weights: bool = True) -> list[str]:
    """Return the folders of a release below its root."""
    names = release.folders.items()
    return [f"{name}/{version}" for name, version in names if weights or name != WEIGHTS]


def _is_good(root: Path, release: Release) -> bool:
    try:
        check_release(root, release)
    except ServingError:
        return False
    return True


def _upload_version(root: Path, uri: str, release: Release) -> None:
    """Copy the folders of one release, its checksums and its manifest, in this order.

    Raises:
        ServingError: the files in the root are not those of the release.
    """
    check_release(root, release, release.folders)
    local = {
        f"{folder}/{name}": digest
        for folder in _folders(release)
        for name, digest in files.checksums(root / folder).items()
    }
    published = _read_checksums(uri, release.version)
    if published is not None and published != local:
        raise UserError(_taken(uri, root, release.version))
    if published is None:
        for name in local:
            objects.upload(root / name, join(uri, name))
        checksums = json.dumps(local, indent=2, sort_keys=True) + "\n"
        place = join(uri, _CHECKSUMS, f"{release.version}.json")
        objects.write_bytes(place, checksums.encode())
    place = join(uri, _HISTORY, f"{release.version}.json")
    objects.write_bytes(place, manifest_text(release).encode())


def _download_folder(
    uri: str, root: Path, folder: str, expected: dict[str, str], replace: bool
) -> None:
    """Copy one folder of a release, check it and rename it into place."""
    wanted = {
        name.removeprefix(f"{folder}/"): digest
        for name, digest in expected.items()
        if name.startswith(f"{folder}/")
    }
    target = root / folder
    if target.is_dir():
        if files.checksums(target) == wanted:
            return
        if not replace:
            raise UserError(_taken(uri, root, int(target.name)))
    target.parent.mkdir(parents=True, exist_ok=True)
    files.remove_leftovers(target.parent)
    temporary = files.temporary_name(target)
    for name in wanted:
        try:
            objects.download(join(uri, folder, name), temporary / name)
        except FileNotFoundError:
            raise UserError(_damaged(uri, f"{folder}/{name}", "is missing")) from None
    for name, digest in files.checksums(temporary).items():
        if digest != wanted[name]:
            raise UserError(_damaged(uri, f"{folder}/{name}", "does not match its checksum"))
    files.move_tree_into_place(temporary, target)


def _taken(uri: str, root: Path, version: int) -> str:
    return (
        f"{uri} holds another release {version} than {root}: it was published from elsewhere. Move "
        f"{root} away and run again, which starts from the release in the bucket, or name another "
        "release.publish_to."
    )


def _damaged(uri: str, name: str, what: str) -> str:
    return (
        f"{uri} is damaged: {name} {what}. Restore that file, or roll back with "
        f"`{command('vlsearch', 'rollback', uri)}`."
    )
