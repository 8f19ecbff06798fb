"""Publishing a release, and going back to the one before: each is one step for whoever reads.

This module needs the standard library and protobuf.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serving import files
from serving.checksums import check_release, content_checksums
from serving.copying import copy_tree
from serving.errors import ServingError, VersionTakenError
from serving.index_description import (
    DESCRIPTION_FILE,
    IMAGE_TOKENS,
    of_version,
    read_description,
    write_description,
)
from serving.model_card import MODEL_CARD, model_card
from serving.model_config import CONFIG_FILE
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
    root_path,
)
from serving.release_manifest import is_model_name, is_version
from serving.rerank_settings import RERANKER, RerankSettings
from serving.served_config import check_places, renewed_config

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
    rerank: RerankSettings | None = None,
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
        rerank: how searches use the reranker; None is the usual way. Without one it is ignored.
        lock_timeout: seconds to wait for another publisher.

    Raises:
        ServingError: a source that is no SavedModel or index, a version that is taken, or a
            models.config that says that a model of the release is elsewhere.
        DiskError: a source cannot be read, or `root` not written.
    """
    root = root_path(root)
    with files.naming_errors("read", root):
        sources = _check_sources(version, models, index)
    if weights is not None:
        sources[WEIGHTS] = Path(weights)
    with files.naming_errors("written", root), contextlib.ExitStack() as held:
        root.mkdir(parents=True, exist_ok=True)
        held.enter_context(files.exclusive_lock(root / _LOCK, lock_timeout))
        for folder in (root, root / HISTORY, *(root / name for name in sources)):
            folder.mkdir(exist_ok=True)
            files.remove_leftovers(folder)
        check_places(root, models)
        current = Release.read(root) if (root / RELEASE_FILE).exists() else None
        # A damaged release can be replaced, but not rolled back to.
        previous = current.version if current and _is_complete(root, current.version) else None
        same = {n: _same_content(s, root / n / str(version)) for n, s in sources.items()}
        if current and previous == version and all(same.values()):
            _write_config(root, current)
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
            rerank=(rerank or RerankSettings()).to_json() if RERANKER in models else None,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        manifest_text(release)  # complains of what JSON cannot hold before anything is copied
        checksums = {}
        for name, source in sources.items():
            target = root / name / str(version)
            checksums[name] = (
                content_checksums(target)
                if same[name]
                else _copy_version(source, target, name, release, model_card)
            )
        release = replace(release, checksums=checksums)
        _write_manifest(history_file(root, version), release)
        # The server loads the new version first; searchers move to it when release.json does.
        _write_config(root, release)
        _write_manifest(root / RELEASE_FILE, release)
        return release


def publish_index(
    root: str | Path,
    version: int,
    index: str | Path,
    *,
    lineage: Mapping[str, Any] | None = None,
    data_span: dict | list | None = None,
    lock_timeout: float = 600.0,
) -> Release:
    """Publish an index as a new release with the models of the current one, which stay loaded.

    Args:
        root: the release root.
        version: number of the release, above the current one's.
        index: folder written by `serving.index.build_index` of these models.
        lineage: ids of what the release was made from.
        data_span: what data it was made of, as JSON holds it.
        lock_timeout: seconds to wait for another publisher.

    Raises:
        ServingError: there is no complete release, the index was built with other towers, or the
            version is taken.
        DiskError: the index cannot be read, or `root` not written.
    """
    root = root_path(root)
    source = Path(index)
    with (
        files.naming_errors("written", root),
        files.exclusive_lock(root / _LOCK, lock_timeout),
    ):
        current = Release.load(root)
        towers = _models_version(current)
        _check_index(source, towers, current.models, version)
        check_places(root)
        files.remove_leftovers(root / INDEX)
        same = _same_content(source, root / INDEX / str(version))
        if current.version == version and same:
            _write_config(root, current)
            return current
        _refuse_taken_version(root, version, current, [] if same else [INDEX])
        release = replace(
            current,
            version=version,
            index=version,
            previous=current.version,
            lineage=dict(lineage or {}),
            data_span=data_span,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        manifest_text(release)  # complains of what JSON cannot hold before anything is copied
        target = root / INDEX / str(version)
        listed = (
            content_checksums(target)
            if same
            else _copy_version(source, target, INDEX, release, None)
        )
        release = replace(release, checksums={**current.checksums, INDEX: listed})
        _write_manifest(history_file(root, version), release)
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
    with files.naming_errors("read", staging_root):
        is_empty = not Path(staging_root).exists() or not any(Path(staging_root).iterdir())
    if not is_empty:
        raise ServingError(f"A release is staged in an empty folder; {staging_root} is not empty.")
    return publish_release(staging_root, version, models, index, **details)


def roll_back(root: str | Path, lock_timeout: float = 600.0) -> Release:
    """Make the release before the current one current again, and returns it.

    The order is that of publishing, reversed: the older version is still loaded, so searchers move
    first and the server follows. The current release may be damaged.

    Raises:
        ServingError: there is no release before it, or it is damaged.
    """
    root = root_path(root)
    Release.read(root)  # A folder that is no release root gets no lock file either.
    with (
        files.naming_errors("written", root),
        files.exclusive_lock(root / _LOCK, lock_timeout),
    ):
        current = Release.read(root)
        if current.previous is None:
            raise ServingError(
                f"Release {current.version} in {root} has no release before it to roll back to."
            )
        release = Release.load(root, current.previous)
        check_release(root, release)
        check_places(root)
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
    root = root_path(root)
    with files.naming_errors("written", root), contextlib.ExitStack() as held:
        (root / HISTORY).mkdir(parents=True, exist_ok=True)
        held.enter_context(files.exclusive_lock(root / _LOCK, lock_timeout))
        release.check_folders(root)
        check_places(root, release.models)
        current = Release.read(root) if (root / RELEASE_FILE).exists() else None
        if release.previous is not None and not _is_complete(root, release.previous):
            release = replace(release, previous=None)
        if release == current:
            _write_config(root, release)
            return release
        _write_manifest(history_file(root, release.version), release)
        back = current is not None and release.version < current.version
        if back:  # the order of rolling back
            _write_manifest(root / RELEASE_FILE, release)
        _write_config(root, release)
        if not back:
            _write_manifest(root / RELEASE_FILE, release)
        return release


def repair_config(root: str | Path, lock_timeout: float = 600.0) -> Release:
    """Write models.config anew for where a release root is, and return its current release.

    Raises:
        ServingError: there is no complete release, or models.config says that a model of it is
            elsewhere.
    """
    root = root_path(root)
    Release.load(root)
    with (
        files.naming_errors("written", root),
        files.exclusive_lock(root / _LOCK, lock_timeout),
    ):
        release = Release.load(root)
        check_places(root)
        _write_config(root, release)
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
    if not is_version(version):
        raise ServingError(
            f"A release version is a positive integer. Received: version={version!r}."
        )
    if not models:
        raise ServingError("A release needs at least one model. Received: models={}.")
    sources = {name: Path(folder) for name, folder in models.items()}
    for name, folder in sources.items():
        if not is_model_name(name):
            raise ServingError(f"{name!r} cannot be the name of a model in a release.")
        if not (folder / "saved_model.pb").is_file():
            raise ServingError(
                f"{folder} is not a SavedModel: it has no saved_model.pb. Export the {name} first."
            )
    if index is not None:
        sources[INDEX] = Path(index)
        _check_index(sources[INDEX], version, models, version)
    return sources


def _check_index(index: Path, towers: int, models: Iterable[str], version: int) -> None:
    """Refuse an index of other towers, or of a reranker that is not released with it."""
    description = read_description(index)
    if description.get(IMAGE_TOKENS) is not None and RERANKER not in models:
        raise ServingError(
            f"The index in {index} holds the image tokens of a {RERANKER}, and the release has "
            f"none. Release that {RERANKER} with it, or build the index without tokens. "
            f"Received: models={sorted(models)}."
        )
    tower_version = description.get("tower_version")
    if tower_version not in (None, towers):
        raise ServingError(
            f"The index in {index} was built with tower version {tower_version} and cannot be "
            f"released as version {version}. Build it again with these towers."
        )


def _models_version(release: Release) -> int:
    """Version of a release's models, which is one: they were published together."""
    return next(iter(release.models.values()))


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
    """Checksums without the card, and index.json without the versions that publishing fills in."""
    content: dict[str, Any] = dict(content_checksums(folder))
    if DESCRIPTION_FILE in content:
        content[DESCRIPTION_FILE] = of_version(read_description(folder), None)
    return content


def _same_content(source: Path, target: Path) -> bool:
    if not target.is_dir():
        return False
    try:
        there = _content(target)
    except ServingError:  # damaged, which is not the same
        return False
    return _content(source) == there


def _copy_version(
    source: Path, target: Path, name: str, release: Release, card: str | None
) -> dict[str, str]:
    """Put a copy with its card into place and return its checksums."""
    with files.new_tree(target) as temporary:
        copy_tree(source, temporary)
        if name == INDEX:
            described = of_version(read_description(temporary), _models_version(release))
            write_description(temporary, described)
        listed = content_checksums(temporary)
        text = model_card(
            name,
            release.version,
            card,
            release.metrics,
            release.data_span,
            release.lineage,
            listed,
        )
        (temporary / MODEL_CARD).write_text(text, encoding="utf-8")
    return listed


def _write_manifest(path: Path, release: Release) -> None:
    files.write_atomically(path, manifest_text(release))


def _write_config(root: Path, release: Release) -> None:
    text = renewed_config(root, release, previous_release(root, release))
    path = root / CONFIG_FILE
    if not path.is_file() or path.read_bytes() != text.encode():
        files.write_atomically(path, text)
