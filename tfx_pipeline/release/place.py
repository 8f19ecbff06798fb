"""Where a run stands among the releases that there are: its version and its baseline."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from serving.release import Release, next_version

SERVING_DIR = "serving"  # in the output folder of a run: the release root
CURRENT = "current"  # as the baseline: the release that there is when the evaluator runs
NEXT_VERSION = 0  # as the version: one more than there is when the pusher runs


@dataclasses.dataclass(frozen=True)
class ReleasePlace:
    """Where a submission stands among the releases that there are."""

    submitted: str
    version: int
    baseline: str


def released_towers(release: Release) -> str:
    """Return which models a release has, by their files, as JSON."""
    listed = {name: release.checksums.get(name) for name in release.models}
    return json.dumps({"models": release.models, "files": listed}, sort_keys=True)


def current_release(serving_root: str | Path) -> Release | None:
    """Return the current release; None if there is none."""
    root = Path(serving_root)
    return Release.load(root) if (root / "release.json").exists() else None


def current_metrics(serving_root: str | Path) -> dict[str, float | None] | None:
    """Metrics of the current release; None if there is none."""
    release = current_release(serving_root)
    return None if release is None else release.metrics


def follow_bucket(serving_root: Path, publish_to: str | None) -> int | None:
    """Make the bucket's current release that of the serving root: it has the last word.

    Returns:
        The highest version in the bucket, 0 if it holds none; None without a bucket.

    Raises:
        UserError: the bucket holds other releases of the same numbers, or cannot be read.
    """
    if publish_to is None:
        return None
    from tfx_pipeline.storage.releases import follow

    return follow(serving_root, publish_to)


def place_release(
    serving_root: Path, key: str, submitted: str, published: int | None = None
) -> ReleasePlace:
    """Version, baseline and time of a submission, as the serving root has them.

    Args:
        serving_root: folder of the releases; need not be there.
        key: of the submission.
        submitted: the time now, ISO.
        published: highest version in the bucket that has a copy of the releases; None without.
    """
    current = current_release(serving_root)
    newest = Release.newest(serving_root)
    if current is not None and current.lineage.get("submission") == key:
        version, baseline = current.version, current.lineage["baseline"]
        if published != 0:  # else the bucket lacks it, and the pusher must run
            submitted = current.lineage["submitted"]
    elif newest is not None and newest.lineage.get("submission") == key:
        # Rolled back from, or killed at the end of its publication: to be published again.
        version, baseline = newest.version, newest.lineage["baseline"]
    else:
        version = max(next_version(serving_root), (published or 0) + 1)
        baseline = current.metrics if current is not None else None
    return ReleasePlace(
        submitted, version, json.dumps(baseline, sort_keys=True) if baseline else ""
    )
