"""A release: models and index that belong together, swapped in as one piece.

Layout of a release root::

    <root>/<model>/<version>/    SavedModel of each member, with MODEL_CARD.md
    <root>/index/<version>/      index.faiss, items.parquet, index.json, MODEL_CARD.md
    <root>/weights/<version>/    what a warm start reads; releases of old have none
    <root>/releases/<version>.json   the manifest of every release, for rolling back
    <root>/models.config         what the model server loads: current and previous version
    <root>/release.json          the manifest of the current release

This module needs the standard library alone.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from serving.commands import command
from serving.errors import ServingError

RELEASE_FILE = "release.json"
INDEX = "index"
HISTORY = "releases"
WEIGHTS = "weights"
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
        previous: the release before it that is still served, for rolling back.
        metrics: metric value by key, as the evaluator names them; None where it is undefined.
        lineage: ids of what produced it (run, artifacts, configuration).
        data_span: the part of the click log it was trained on.
        created: time of publication, ISO 8601 in UTC.
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
            text = path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            raise ServingError(
                f"{root} is not a release root: it has no {path.relative_to(root)}. "
                f"{_LAYOUT}. {_REMEDY}"
            ) from None
        return cls.parse(text, path)

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
        remedy = f"Put the newest readable file of {HISTORY}/ in its place."
        try:
            content = json.loads(text)
        except ValueError as error:
            raise ServingError(f"{path} is not valid JSON: {error}. {remedy}") from error
        if not isinstance(content, dict):
            raise ServingError(f"{path} must hold a JSON object. {remedy}")
        missing = [k for k in ("version", "models", "index", "previous") if k not in content]
        if missing:
            raise ServingError(f"{path} lacks the key(s) {', '.join(missing)}. {remedy}")
        if not isinstance(content["version"], int) or not isinstance(content["models"], dict):
            raise ServingError(
                f"{path}: 'version' must be an integer and 'models' an object. {remedy} "
                f"Received: version={content['version']!r}, models={content['models']!r}."
            )
        # Keys of later versions of this format are ignored, so that old readers go on reading.
        return cls(**{k.name: content[k.name] for k in fields(cls) if k.name in content})

    def check_folders(self, root: Path) -> None:
        """Raise ServingError if a model or the index named by the release is not there.

        Weights may be missing: nobody serves them.
        """
        if not self.models:
            raise ServingError(f"Release {self.version} in {root} names no model. {_REMEDY}")
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


def next_version(root: str | Path) -> int:
    """One more than the highest version that was ever made public in `root`.

    Folders of a publication that was killed do not count: no server was told of them, and
    publishing again replaces them.
    """
    history = Path(root, HISTORY).glob("*.json")
    return max((int(path.stem) for path in history if path.stem.isdigit()), default=0) + 1


def model_folders(folder: str | Path) -> dict[str, Path]:
    """Return the SavedModels right below a folder, by name."""
    return {path.parent.name: path.parent for path in sorted(Path(folder).glob("*/saved_model.pb"))}


def manifest_text(release: Release) -> str:
    """Return a manifest as it is written: what `Release.parse` reads."""
    return json.dumps(asdict(release), indent=2, sort_keys=True) + "\n"


def previous_release(root: str | Path, release: Release) -> Release | None:
    """Return the release before this one that is still served; None if there is none.

    Raises:
        ServingError: it is damaged.
    """
    return None if release.previous is None else Release.load(root, release.previous)


def history_file(root: Path, version: int) -> Path:
    """Where the manifest of a release stays, current or not."""
    return root / HISTORY / f"{version}.json"
