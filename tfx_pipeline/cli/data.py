"""`vlsearch data`: write data folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Write data folders for training and for the pipeline.")


@app.command()
def emoji(
    out: Annotated[Path, typer.Argument(help="Data folder to write.")],
    days: Annotated[int, typer.Option(help="Number of days (spans) of the log.")] = 7,
    impressions: Annotated[int, typer.Option(help="Least number of shown results.")] = 240_000,
    seed: Annotated[int, typer.Option(help="Seed of splits and clicks.")] = 1,
    size: Annotated[int, typer.Option(help="Shorter side of the images in pixels.")] = 72,
    limit: Annotated[int | None, typer.Option(help="Only the first N emoji.")] = None,
) -> None:
    """Emoji, their English and Chinese names and keywords, and a simulated click log.

    Needs the Debian packages fonts-noto-color-emoji and unicode-cldr-core. Images and words
    are real, clicks are simulated.
    """
    from rich.console import Console
    from rich.progress import Progress

    from tfx_pipeline.data.emoji import write_emoji

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("Drawing emoji")
        summary = write_emoji(
            out,
            days=days,
            impressions=impressions,
            seed=seed,
            size=size,
            limit=limit,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    typer.echo(
        f"{out}: {summary.images:,} emoji, {summary.pairs:,} true pairs of {summary.queries:,} "
        f"queries ({summary.test_pairs:,} held out for test), {summary.impressions:,} "
        f"impressions and {summary.clicks:,} clicks in {summary.days} days (simulated)."
    )


@app.command()
def captions(
    file: Annotated[
        Path,
        typer.Argument(help="JSON lines, Flickr tokens, Karpathy JSON or COCO captions JSON."),
    ],
    images: Annotated[Path, typer.Option(help="Folder with the images.")],
    out: Annotated[Path, typer.Option(help="Data folder to write.")],
    name: Annotated[str | None, typer.Option(help="Name of the data set.")] = None,
    link: Annotated[bool, typer.Option("--link", help="Link the images into OUT.")] = False,
    copy: Annotated[bool, typer.Option("--copy", help="Copy the images into OUT.")] = False,
) -> None:
    """A caption set as a data folder; every caption is a clicked row."""
    from tfx_pipeline.data.captions import Place, write_captions
    from vl_models.errors import UserError

    if link and copy:
        raise UserError("--link and --copy exclude each other: give one of them.")
    place: Place = "reference"
    if link or copy:
        place = "link" if link else "copy"
    summary = write_captions(file, images, out, name=name, place=place)
    typer.echo(
        f"{out}: {summary.captions:,} captions of {summary.images:,} images ({summary.form})"
        + (f", {summary.unassigned:,} without a split" if summary.unassigned else "")
        + "."
    )
