"""ReleasedTowers: the current release's models, for another index of them."""

# No postponed annotations here: TFX reads the types of the component function.

import logging
from pathlib import Path

from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.utils import path_utils


@component
def ReleasedTowers(
    model: OutputArtifact[standard_artifacts.Model],
    serving_root: Parameter[str],
    towers: Parameter[str],
    code_fingerprint: Parameter[str] = "",
) -> None:
    """Copy the models of the current release, checked, to where the Trainer exports its own.

    Args:
        model: gets a SavedModel for each member; `release` is the version they are of.
        serving_root: folder of the releases.
        towers: which release it is, and the checksums of its models, as `released_towers` says at
            submission; anything else if the submitter could not see the releases: then the current.
        code_fingerprint: for the cache key only.

    Raises:
        ServingError: there is no release, or it is damaged.
        UserError: another release is current than at submission.
    """
    del code_fingerprint
    from serving.checksums import check_release
    from serving.copying import copy_tree
    from serving.release import Release
    from tfx_pipeline.release.place import released_towers
    from vl_models.errors import UserError

    root = Path(serving_root)
    release = Release.load(root)
    if towers.startswith("{") and released_towers(release) != towers:
        raise UserError(
            f"{root}: release {release.version} is current now, and has other towers than when "
            "this run was submitted. Submit it again."
        )
    check_release(root, release)
    exported = Path(path_utils.serving_model_path(model.uri))
    exported.mkdir(parents=True)
    for name, version in release.models.items():
        copy_tree(root / name / str(version), exported / name)
    model.set_int_custom_property("release", release.version)
    logging.info("Towers of release %d of %s", release.version, root)
