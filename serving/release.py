"""A release: models and index that belong together, swapped in as one piece.

Layout of a release root::

    <root>/<model>/<version>/    SavedModel of each member, with MODEL_CARD.md
    <root>/index/<version>/      index.faiss, items.parquet, index.json, MODEL_CARD.md, and
                                 image_tokens.npy where the reranker reads images apart
    <root>/weights/<version>/    what a warm start reads; releases of old have none
    <root>/releases/<version>.json   the manifest of every release, for rolling back
    <root>/models.config         what the model server loads: current and previous version
    <root>/release.json          the manifest of the current release

This module needs the standard library alone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from serving import files
from serving.commands import command
from serving.errors import MissingFileError, ServingError
from serving.release_manifest import (
    HISTORY,
    INDEX,
    RELEASE_FILE,
    WEIGHTS,
    is_version,
    parse_manifest,
    print_manifest,
)

_LAYOUT = (
    "A release root holds release.json, models.config, <model>/<version>/ for each model and "
    "index/<version>/"
)
_REMEDY = "Publish one with `vlsearch run`, or name the right folder."


@dataclass(frozen=True)
class Release:
    """The versions that belong together, and where they came from.

    Attributes:
        version: number of the release.
        models: version of each model by name, such as {"text_tower": 3, "image_tower": 3}.
        index: version of the index, or None for a release without one.
        weights: version of the weights for warm starts, or None for a release without them.
        checksums: SHA-256 by relative path, by folder ("text_tower", "index"); releases of old
            have none.
        previous: the release before it that is still served, for rolling back.
        metrics: metric value by key, as the evaluator names them; None where it is undefined.
        lineage: ids of what produced it (run, artifacts, configuration).
        data_span: the part of the click log it was trained on.
        created: time of publication, ISO 8601 in UTC.
        rerank: how searches use the reranker, see `serving.rerank_settings`; None without one.
    """

    version: int
    models: dict[str, int]
    index: int | None
    previous: int | None
    metrics: dict[str, float | None] = field(default_factory=dict)
    lineage: dict[str, Any] = field(default_factory=dict)
    data_span: dict | list | None = None
    created: str = ""
    weights: int | None = None
    checksums: dict[str, dict[str, str]] = field(default_factory=dict)
    rerank: dict[str, Any] | None = None

    @property
    def folders(self) -> dict[str, int]:
        """Version by name of every folder that belongs to the release."""
        others = {INDEX: self.index, WEIGHTS: self.weights}
        return self.models | {name: one for name, one in others.items() if one is not None}

    @classmethod
    def load(cls, root: str | Path, version: int | None = None) -> Release:
        """Read the current release of `root`, or the one numbered `version`.

        Raises:
            ServingError: no such release, a broken file, or a folder it names that is missing.
        """
        release = cls.read(Path(root), version)
        release.check_folders(Path(root))
        return release

    @classmethod
    def read(cls, root: Path, version: int | None = None) -> Release:
        """Return the manifest alone; a folder it names may be missing.

        Raises:
            ServingError: no such release, or a broken file.
        """
        path = root / RELEASE_FILE if version is None else history_file(root, version)
        try:
            text = files.read_text(path)
        except MissingFileError:
            raise ServingError(
                f"{root} is not a release root: it has no {path.relative_to(root)}. "
                f"{_LAYOUT}. {_REMEDY}"
            ) from None
        release = cls.parse(text, path)
        if version is not None and release.version != version:
            raise ServingError(
                f"{path} is the manifest of another release, number {release.version}. Restore it "
                "from a copy."
            )
        return release

    @classmethod
    def newest(cls, root: str | Path) -> Release | None:
        """Return the release with the highest version that was ever made public in `root`, or None.

        It may not be current: after a roll-back, or if its publication was killed just before
        the end.

        Raises:
            ServingError: its manifest is broken, or a folder it names is missing.
        """
        newest = next_version(root) - 1
        return cls.load(root, newest) if newest else None

    @classmethod
    def parse(cls, text: str, path: str | Path) -> Release:
        """Return a manifest from its text; `path` is what errors call it.

        Raises:
            ServingError: it is broken.
        """
        content = parse_manifest(text, path)
        # Keys of later versions of this format are ignored, so that old readers go on reading.
        return cls(**{k.name: content[k.name] for k in fields(cls) if k.name in content})

    def check_folders(self, root: Path) -> None:
        """Raise ServingError if a model or the index named by the release is not there.

        Weights may be missing: nobody serves them.
        """
        if not self.models:
            raise ServingError(f"Release {self.version} in {root} names no model. {_REMEDY}")
        # What cannot be looked at, for want of rights or by its name, is an OSError.
        with files.naming_errors("read", root):
            self._check_folders(root)

    def _check_folders(self, root: Path) -> None:
        for name, version in self.models.items():
            folder = root / name / str(version)
            if not (folder / "saved_model.pb").is_file():
                raise ServingError(
                    f"Release folder without a model: release {self.version} in {root} names "
                    f"{name} version {version}, but {folder} holds no SavedModel "
                    "(saved_model.pb). Restore that folder, or roll back with "
                    f"`{command('vlsearch', 'rollback', root)}`."
                )
        if self.index is not None and not (root / INDEX / str(self.index)).is_dir():
            raise ServingError(
                f"Release folder without an index: release {self.version} in {root} names "
                f"{root / INDEX / str(self.index)}, which does not exist. Restore that folder, or "
                f"roll back with `{command('vlsearch', 'rollback', root)}`."
            )


def root_path(root: str | Path) -> Path:
    """Return a release root as it was named, with `~` for a home folder made out."""
    path = Path(root)
    if path.parts[:1] and path.parts[0].startswith("~") and not path.exists():
        try:
            return path.expanduser()
        except RuntimeError:  # no such user
            return path
    return path


def next_version(root: str | Path) -> int:
    """One more than the highest version that was ever made public in `root`.

    Folders of a publication that was killed do not count: no server was told of them, and
    publishing again replaces them.
    """
    stems = [path.stem for path in Path(root, HISTORY).glob("*.json")]
    numbers = [int(stem) for stem in stems if stem.isascii() and stem.isdigit()]
    return max(filter(is_version, numbers), default=0) + 1


def model_folders(folder: str | Path) -> dict[str, Path]:
    """Return the SavedModels right below a folder, by name."""
    return {path.parent.name: path.parent for path in sorted(Path(folder).glob("*/saved_model.pb"))}


def manifest_text(release: Release) -> str:
    """Return a manifest as it is written: what `Release.parse` reads.

    Raises:
        ServingError: a value that JSON cannot hold, such as NaN.
    """
    return print_manifest(asdict(release))


def previous_release(root: str | Path, release: Release) -> Release | None:
    """Return the release before this one that is still served; None if there is none.

    Raises:
        ServingError: it is damaged.
    """
    return None if release.previous is None else Release.load(root, release.previous)


def history_file(root: Path, version: int) -> Path:
    """Where the manifest of a release stays, current or not."""
    return root / HISTORY / f"{version}.json"
