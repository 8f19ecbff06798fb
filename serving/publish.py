"""Publishing a release, and going back to the one before: each is one step for whoever reads.

This module needs the standard library alone.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serving import files
from serving.errors import ServingError, VersionTakenError
from serving.model_card import MODEL_CARD, model_card
from serving.model_config import CONFIG_FILE, model_config_text
from serving.release import (
    HISTORY,
    INDEX,
    RELEASE_FILE,
    WEIGHTS,
    Release,
    history_file,
    manifest_text,
    next_version,
    previous_release,
)

_LOCK = ".publish.lock"


def publish_release(
    root: str | Path,
    version: int,
    models: Mapping[str, str | Path],
    index: str | Path | None,
    metrics: Mapping[str, float | None] | None = None,
    lineage: Mapping[str, Any] | None = None,
    data_span: dict | list | None = None,
    model_card: str | None = None,
    weights: str | Path | None = None,
    lock_timeout: float = 600.0,
) -> Release:
    """Copy models and index into `root` under one version number and makes them the current ones.

    Killed at any moment, the release before stays current and complete, and publishing again
    finishes the work. Publishing what is already current changes nothing. Old versions stay. A
    current release that lacks a folder is replaced, and the new one has no previous release.

    Args:
        root: the release root, made where it is missing.
        version: number of the release, 1 or more.
        models: SavedModel folder by model name.
        index: folder written by `serving.index.build_index`; its `tower_version` must be `version`,
            or null, which is filled in here. None for a release without an index.
        metrics: value by key; None is undefined.
        lineage: ids of what the release was made from.
        data_span: what data it was trained on, as JSON holds it.
        model_card: Markdown by the author; metrics, data span and checksums are added to it.
        weights: folder of what a warm start reads; None for a release without it.
        lock_timeout: seconds to wait for another publisher.

    Raises:
        ServingError: a source that is no SavedModel or index, or a version that is taken.
    """
    root = Path(root)
    sources = _check_sources(version, models, index)
    if weights is not None:
        sources[WEIGHTS] = Path(weights)
    root.mkdir(parents=True, exist_ok=True)
    with files.exclusive_lock(root / _LOCK, lock_timeout):
        for folder in (root, root / HISTORY, *(root / name for name in sources)):
            folder.mkdir(exist_ok=True)
            files.remove_leftovers(folder)
        current = Release.read(root) if (root / RELEASE_FILE).exists() else None
        # A damaged release can be replaced, but not rolled back to.
        previous = current.version if current and _is_complete(root, current.version) else None
        same = {n: _same_content(s, root / n / str(version)) for n, s in sources.items()}
        if current and previous == version and all(same.values()):
            return current
        _refuse_taken_version(root, version, current, [n for n, same in same.items() if not same])
        release = Release(
            version=version,
            models=dict.fromkeys(models, version),
            index=None if index is None else version,
            weights=None if weights is None else version,
            previous=previous,
            metrics=dict(metrics or {}),
            lineage=dict(lineage or {}),
            data_span=data_span,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        for name, source in sources.items():
            if not same[name]:
                _copy_version(source, root / name / str(version), name, release, model_card)
        _write_manifest(history_file(root, version), release)
        # The server loads the new version first; searchers move to it when release.json does.
        _write_config(root, release)
        _write_manifest(root / RELEASE_FILE, release)
        return release


def stage_release(
    staging_root: str | Path,
    version: int,
    models: Mapping[str, str | Path],
    index: str | Path | None = None,
    **details: Any,
) -> Release:
    """A copy in the release layout for trying out: what `publish_release` makes of an empty root.

    Args:
        staging_root: a folder that is empty or does not exist.
        version: as in `publish_release`.
        models: as in `publish_release`.
        index: as in `publish_release`.
        details: as in `publish_release`.

    Raises:
        ServingError: as in `publish_release`, or `staging_root` holds something already.
    """
    if Path(staging_root).exists() and any(Path(staging_root).iterdir()):
        raise ServingError(f"A release is staged in an empty folder; {staging_root} is not empty.")
    return publish_release(staging_root, version, models, index, **details)


def roll_back(root: str | Path, lock_timeout: float = 600.0) -> Release:
    """Make the release before the current one current again, and returns it.

    The order is that of publishing, reversed: the older version is still loaded, so searchers move
    first and the server follows. The current release may be damaged.

    Raises:
        ServingError: there is no release before it, or its folders are gone.
    """
    root = Path(root)
    Release.read(root)  # A folder that is no release root gets no lock file either.
    with files.exclusive_lock(root / _LOCK, lock_timeout):
        current = Release.read(root)
        if current.previous is None:
            raise ServingError(
                f"Release {current.version} in {root} has no release before it to roll back to."
            )
        release = Release.load(root, current.previous)
        if release.previous is not None and not _is_complete(root, release.previous):
            release = replace(release, previous=None)
        _write_manifest(root / RELEASE_FILE, release)
        _write_config(root, release)
        return release


def adopt_release(root: str | Path, release: Release, lock_timeout: float = 600.0) -> Release:
    """Make a release current whose folders were copied into `root` from another root.

    Its previous release stays named only if that is here, too.

    Raises:
        ServingError: a folder that it names is missing.
    """
    root = Path(root)
    (root / HISTORY).mkdir(parents=True, exist_ok=True)
    with files.exclusive_lock(root / _LOCK, lock_timeout):
        release.check_folders(root)
        current = Release.read(root) if (root / RELEASE_FILE).exists() else None
        if release.previous is not None and not _is_complete(root, release.previous):
            release = replace(release, previous=None)
        if release == current:
            return release
        _write_manifest(history_file(root, release.version), release)
        back = current is not None and release.version < current.version
        if back:  # the order of rolling back
            _write_manifest(root / RELEASE_FILE, release)
        _write_config(root, release)
        if not back:
            _write_manifest(root / RELEASE_FILE, release)
        return release


def _is_complete(root: Path, version: int) -> bool:
    try:
        Release.load(root, version)
    except ServingError:
        return False
    return True


def _check_sources(
    version: int, models: Mapping[str, str | Path], index: str | Path | None
) -> dict[str, Path]:
    if version < 1:
        raise ServingError(f"A release version is a positive integer. Received: version={version}.")
    if not models:
        raise ServingError("A release needs at least one model. Received: models={}.")
    sources = {name: Path(folder) for name, folder in models.items()}
    for name, folder in sources.items():
        if name in (INDEX, HISTORY, WEIGHTS) or not name.replace("_", "").isalnum():
            raise ServingError(f"{name!r} cannot be the name of a model in a release.")
        if not (folder / "saved_model.pb").is_file():
            raise ServingError(
                f"{folder} is not a SavedModel: it has no saved_model.pb. Export the {name} first."
            )
    if index is not None:
        sources[INDEX] = Path(index)
        tower_version = _read_index_json(sources[INDEX]).get("tower_version")
        if tower_version not in (None, version):
            raise ServingError(
                f"The index in {index} was built with tower version {tower_version} and cannot be "
                f"released as version {version}. Build it again with these towers."
            )
    return sources


def _read_index_json(folder: Path) -> dict[str, Any]:
    path = folder / "index.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ServingError(
            f"{folder} is not an index: it has no index.json. Build one with build_index."
        ) from None
    except ValueError as error:
        raise ServingError(f"{path} is not valid JSON: {error}. Build the index again.") from error


def _refuse_taken_version(
    root: Path, version: int, current: Release | None, changed: Iterable[str]
) -> None:
    """Versions only grow, and a number that a server may have loaded never changes its content."""
    remedy = f"Publish it as version {next_version(root)} (next_version gives it)."
    if history_file(root, version).exists() and list(changed):
        raise VersionTakenError(
            f"Version {version} is already published in {root} with different content "
            f"({', '.join(changed)}). {remedy}"
        )
    if current and version <= current.version:
        raise ServingError(
            f"Version {version} is not newer than the current release {current.version} in {root}. "
            f"{remedy}"
        )


def _content(folder: Path) -> dict[str, Any]:
    """Checksums without the card, and index.json without the version that publishing fills in."""
    content: dict[str, Any] = files.checksums(folder)
    content.pop(MODEL_CARD, None)
    if "index.json" in content:
        content["index.json"] = _read_index_json(folder) | {"tower_version": None}
    return content


def _same_content(source: Path, target: Path) -> bool:
    return target.is_dir() and _content(source) == _content(target)


def _copy_version(
    source: Path, target: Path, name: str, release: Release, card: str | None
) -> None:
    temporary = files.temporary_name(target)
    shutil.copytree(source, temporary)
    if name == INDEX:
        content = _read_index_json(temporary) | {"tower_version": release.version}
        (temporary / "index.json").write_text(json.dumps(content, indent=2) + "\n")
    text = model_card(
        name,
        release.version,
        card,
        release.metrics,
        release.data_span,
        release.lineage,
        files.checksums(temporary),
    )
    (temporary / MODEL_CARD).write_text(text, encoding="utf-8")
    files.move_tree_into_place(temporary, target)


def _write_manifest(path: Path, release: Release) -> None:
    files.write_atomically(path, manifest_text(release))


def _write_config(root: Path, release: Release) -> None:
    text = model_config_text(str(root.resolve()), release, previous_release(root, release))
    files.write_atomically(root / CONFIG_FILE, text)
