"""`vlsearch rollback`: make the release before the current one current again."""

from __future__ import annotations

from tfx_pipeline.cli.places import RootArgument


def rollback(root: RootArgument) -> None:
    """Go back to the release before the current one; running servers follow."""
    from serving.publish import roll_back
    from tfx_pipeline.storage.releases import roll_back_bucket
    from tfx_pipeline.storage.uris import is_uri
    from vl_models.terminal import echo

    release = roll_back_bucket(root) if is_uri(root) else roll_back(root)
    echo(f"{root}: version {release.version} is current.")
