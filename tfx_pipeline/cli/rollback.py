"""`vlsearch rollback`: make the release before the current one current again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def rollback(
    root: Annotated[Path, typer.Argument(help="Release root, the folder with release.json.")],
) -> None:
    """Go back to the release before the current one; running servers follow."""
    from serving.release import roll_back

    release = roll_back(root)
    typer.echo(f"{root}: version {release.version} is current.")
