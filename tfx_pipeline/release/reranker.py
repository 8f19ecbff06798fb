"""A reranker of another run that is released with this run's towers: ``release.reranker``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from serving.release import RELEASE_FILE, Release, model_folders
from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.data.feature_extraction import fingerprint_towers
from tfx_pipeline.release.place import SERVING_DIR
from tfx_pipeline.release.signatures import read_signatures
from vl_models.errors import UserError
from vl_models.members import IMAGE_BYTES, QUERY, RERANKER, SCORE


def find_reranker(place: str | Path) -> Path:
    """Return the SavedModel folder of a reranker.

    Args:
        place: a run folder of `vlsearch train`, a release root or the output folder of
            `vlsearch run` (its current release), a folder that holds reranker/, or that SavedModel.

    Raises:
        UserError: there is none, or it does not score queries and images.
        ServingError: the release root is damaged.
    """
    root = Path(place)
    if (root / SERVING_DIR / RELEASE_FILE).is_file():
        root = root / SERVING_DIR
    if (root / RELEASE_FILE).is_file():
        release = Release.load(root)
        if RERANKER not in release.models:
            raise UserError(
                f"release.reranker: release {release.version} of {root} has no {RERANKER}, but "
                f"{', '.join(sorted(release.models))}. Name a run of a system that scores pairs."
            )
        folder = root / RERANKER / str(release.models[RERANKER])
    else:
        inside = (root, root / RERANKER, root / "towers" / RERANKER)
        found = [one for one in inside if (one / "saved_model.pb").is_file()]
        if not found:
            raise UserError(
                f"release.reranker: no SavedModel of a {RERANKER} in {root}. Name a run folder of "
                f"`vlsearch train`, a release root, or a folder that holds {RERANKER}/. "
                f"Received: release.reranker={str(place)!r}"
            )
        folder = found[0]
    described = read_signatures(folder).get(SCORE)
    inputs = () if described is None else described.inputs
    if set(inputs) != {QUERY, IMAGE_BYTES}:
        raise UserError(
            f"release.reranker: {folder} has no signature {SCORE} of {QUERY} and {IMAGE_BYTES}, so "
            f"it cannot order the images of a query. Received: inputs={list(inputs)}"
        )
    return folder.resolve()


def pin_reranker(config: ExperimentConfig) -> ExperimentConfig:
    """Settle which reranker is meant: the SavedModel itself in the place of what names it.

    Raises:
        UserError: as `find_reranker`.
    """
    if config.release.reranker is None:
        return config
    folder = str(find_reranker(config.release.reranker))
    return config.model_copy(
        update={"release": config.release.model_copy(update={"reranker": folder})}
    )


def fingerprint_reranker(place: str | Path | None) -> str:
    """Return a key of a reranker's graph and weights; "" of none."""
    return "" if place is None else fingerprint_towers({RERANKER: find_reranker(place)})


def released_members(exported: Path, reranker: str | Path | None) -> dict[str, Path]:
    """Return the SavedModel folders that are released together, by name.

    Args:
        exported: holds a run's own members.
        reranker: names one that is released in the place of the run's own; None or "" for none.
    """
    members = model_folders(exported)
    return {**members, RERANKER: find_reranker(reranker)} if reranker else members


def describe_origin(reranker: str | Path | None) -> dict[str, Any]:
    """Return what the lineage of a release says of a reranker of another run; nothing of none."""
    if not reranker:
        return {}
    folder = find_reranker(reranker)
    return {RERANKER: {"from": str(folder), "fingerprint": fingerprint_towers({RERANKER: folder})}}
