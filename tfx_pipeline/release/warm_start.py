"""Warm starts from releases: which release is meant, its fingerprint, its weights on this disk.

``train.warm_start: {from: ROOT}`` names a release root, a path or a URI; ``ROOT@7`` one of its
versions. Runs, checkpoints and safetensors files are left to `vl_models.training.warm_start`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from serving.release import RELEASE_FILE, WEIGHTS, Release
from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.fingerprint import fingerprint_file, fingerprint_text
from tfx_pipeline.storage.uris import is_uri
from vl_models.errors import UserError
from vl_models.training.config import TrainConfig
from vl_models.weights.released import WEIGHTS_FILE

_VERSIONED = re.compile(r"(.+)@(\d+)")


def pin_warm_starts(config: ExperimentConfig) -> ExperimentConfig:
    """Settle the version of each release that a stage starts from.

    Returns:
        The configuration with ``ROOT@VERSION`` for each release; without ``@VERSION`` the
        current release is meant.

    Raises:
        UserError: there is no such release, or it was published without weights.
        ServingError: the release root is damaged.
    """
    return config.model_copy(update={"train": _changed(config.train, _pinned)})


def local_warm_starts(train: TrainConfig) -> TrainConfig:
    """Return the settings with files of this disk for releases; those of a bucket are copied first.

    Raises:
        UserError: as in `pin_warm_starts`, or the bucket cannot be read.
    """
    return _changed(train, _local_file)


def fingerprint_warm_starts(train: TrainConfig) -> str:
    """Fingerprints of the weights that stages start from; those of run folders are unknown."""
    stages = train.resolved_stages()
    sources = [stage.warm_start.source for stage in stages if stage.warm_start is not None]
    return "".join(_fingerprint(source) for source in sources)


def starts_from_bucket(train: TrainConfig) -> bool:
    """Whether a stage starts from a release in a bucket."""
    stages = train.resolved_stages()
    return any(stage.warm_start is not None and is_uri(stage.warm_start.source) for stage in stages)


def _changed(train: TrainConfig, change: Callable[[str], str]) -> TrainConfig:
    """Return the settings with every source changed."""

    def of(part):
        if part.warm_start is None:
            return part
        source = change(part.warm_start.source)
        start = part.warm_start.model_copy(update={"source": source})
        return part.model_copy(update={"warm_start": start})

    return of(train.model_copy(update={"stages": tuple(of(stage) for stage in train.stages)}))


def _release(source: str) -> tuple[str, Release] | None:
    """Root and manifest of the release that a source names; None if it names something else."""
    match = _VERSIONED.fullmatch(source)
    root, version = (match[1], int(match[2])) if match else (source, None)
    if is_uri(source):
        from tfx_pipeline.storage.releases import read_release

        release = read_release(root, version)
    elif (Path(root) / RELEASE_FILE).is_file():
        release = Release.read(Path(root), version)
    elif match and not Path(source).exists():
        release = None
    else:
        return None
    if release is None:
        raise UserError(
            f"train.warm_start: there is no release {version or ''} at {root}. Name a release root "
            f"(the folder with {RELEASE_FILE}) or one of its versions, as ROOT@7. Received: "
            f"from={source!r}"
        )
    if release.weights is None:
        raise UserError(
            f"train.warm_start: release {release.version} at {root} has the layout of before, "
            f"without {WEIGHTS}/, so nothing can start from it. Start from the run folder, a "
            "checkpoint or a safetensors file, or publish a new release. Received: "
            f"from={source!r}"
        )
    return root, release


def _pinned(source: str) -> str:
    found = _release(source)
    return source if found is None else f"{found[0]}@{found[1].version}"


def _local_file(source: str) -> str:
    found = _release(source)
    if found is None:
        return source
    root, release = found
    if is_uri(root):
        from tfx_pipeline.storage.releases import fetch_weights

        return str(fetch_weights(root, release) / WEIGHTS_FILE)
    path = Path(root, WEIGHTS, str(release.weights), WEIGHTS_FILE)
    if not path.is_file():
        raise UserError(
            f"train.warm_start: the weights of release {release.version} are gone from {root}: "
            f"there is no file {path}. Name another version. Received: from={source!r}"
        )
    return str(path)


def _fingerprint(source: str) -> str:
    found = _release(source)
    if found is not None and is_uri(found[0]):
        from tfx_pipeline.storage.releases import weights_checksums

        return fingerprint_text(*weights_checksums(*found).values())
    path = Path(_local_file(source))
    return fingerprint_file(path) if path.is_file() else ""
