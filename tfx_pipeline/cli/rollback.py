"""`vlsearch rollback`: make the release before the current one current again."""

from __future__ import annotations

from typing import Annotated

import typer


def rollback(
    root: Annotated[
        str,
        typer.Argument(help="Release root, the folder with release.json: a path, s3:// or gs://."),
    ],
) -> None:
    """Go back to the release before the current one; running servers follow."""
    from tfx_pipeline.storage.uris import is_uri

    if is_uri(root):
        from tfx_pipeline.cli.logs import hide_native_messages

        hide_native_messages()
        from tfx_pipeline.storage.releases import roll_back_bucket

        release = roll_back_bucket(root)
    else:
        from serving.publish import roll_back

        release = roll_back(root)
    typer.echo(f"{root}: version {release.version} is current.")
