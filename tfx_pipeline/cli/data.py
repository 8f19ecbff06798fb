"""`vlsearch data`: write data folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tfx_pipeline.cli.places import on_disk

if TYPE_CHECKING:
    from tfx_pipeline.data.feature_set import FeatureSet
    from tfx_pipeline.data.folder import DataFolder

app = typer.Typer(help="Write data folders for training and for the pipeline.")

ItemsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="CSV, Parquet or JSON lines of what is known of images: id, name, price, …",
    ),
]


@app.command()
def emoji(
    context: typer.Context,
    out: Annotated[Path, typer.Argument(help="Data folder to write.", callback=on_disk)],
    days: Annotated[int, typer.Option(help="Number of days (spans) of the log.")] = 7,
    impressions: Annotated[int, typer.Option(help="Least number of shown results.")] = 240_000,
    seed: Annotated[int, typer.Option(help="Seed of splits and clicks.")] = 1,
    size: Annotated[int, typer.Option(help="Shorter side of the images in pixels.")] = 72,
    limit: Annotated[int | None, typer.Option(help="Only the first N emoji.")] = None,
    split: Annotated[
        Literal["by_pair", "by_image"],
        typer.Option(help="Hold out pairs, or images with all their pairs."),
    ] = "by_pair",
    tasks: Annotated[
        bool,
        typer.Option(
            "--tasks",
            help="With --split by_image: also questions about the images, in the forms of VQA, "
            "NLVR2 and SNLI-VE.",
        ),
    ] = False,
    scenes: Annotated[
        int | None,
        typer.Option(metavar="N", help="N scenes of two or three emoji and what is true of them."),
    ] = None,
    pictures: Annotated[int, typer.Option(help="With --scenes: of how many emoji.")] = 48,
) -> None:
    """Emoji, their English and Chinese names and keywords, and a simulated click log.

    Needs the Debian packages fonts-noto-color-emoji and unicode-cldr-core. Images and words
    are real, clicks are simulated.

    With --scenes N, data for systems that read image and text together: N scenes such as "a dog
    left of a cat", with the sentences that are true of them in English and Chinese. Each scene of
    two emoji has a twin in which they are exchanged; items.parquet names it.
    """
    from tfx_pipeline.data.emoji import write_emoji
    from vl_models.terminal import echo, progress_bar

    if scenes is not None:
        _refuse(context, "--scenes", "days", "impressions", "limit", "split", "tasks")
        _write_scenes(out, scenes, pictures=pictures, seed=seed, size=size)
        return
    _refuse(context, "an emoji set without --scenes", "pictures")
    with progress_bar() as bar:
        task = bar.add_task("Drawing emoji")
        summary = write_emoji(
            out,
            days=days,
            impressions=impressions,
            seed=seed,
            size=size,
            limit=limit,
            split=split,
            tasks=tasks,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    echo(
        f"{out}: {summary.images:,} emoji, {summary.pairs:,} true pairs of {summary.queries:,} "
        f"queries ({summary.test_pairs:,} held out for test), {summary.impressions:,} "
        f"impressions and {summary.clicks:,} clicks in {summary.days} days (simulated)."
    )
    for form, questions in summary.questions.items():
        counts = ", ".join(f"{count:,} {split}" for split, count in questions.splits.items())
        echo(f"{out / form}: {questions.questions:,} questions ({counts}).")


def _refuse(context: typer.Context, where: str, *names: str) -> None:
    """Raise UserError if options are given that say nothing there."""
    from vl_models.errors import UserError

    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name != "DEFAULT":
            raise UserError(f"--{name.replace('_', '-')} says nothing to {where}. Leave it out.")


def _write_scenes(out: Path, scenes: int, *, pictures: int, seed: int, size: int) -> None:
    from tfx_pipeline.data.scenes.write import write_scenes
    from vl_models.terminal import echo, progress_bar

    with progress_bar() as bar:
        task = bar.add_task("Drawing scenes")
        summary = write_scenes(
            out,
            scenes,
            pictures=pictures,
            seed=seed,
            size=size,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    echo(
        f"{out}: {summary.scenes:,} scenes of {summary.pictures} emoji ({summary.val:,} of val, "
        f"{summary.test:,} of test), {summary.rows:,} rows of {summary.sentences:,} sentences."
    )


@app.command()
def captions(
    file: Annotated[
        Path,
        typer.Argument(help="JSON lines, a JSON list, CSV, TSV, Flickr tokens, Karpathy, COCO."),
    ],
    images: Annotated[Path, typer.Option(help="Folder with the images.")],
    out: Annotated[Path, typer.Option(help="Data folder to write.", callback=on_disk)],
    name: Annotated[str | None, typer.Option(help="Name of the data set.")] = None,
    link: Annotated[bool, typer.Option("--link", help="Link the images into OUT.")] = False,
    copy: Annotated[bool, typer.Option("--copy", help="Copy the images into OUT.")] = False,
    form: Annotated[
        str, typer.Option(help="tokens, karpathy, coco, jsonl, json or table; auto: by content.")
    ] = "auto",
    encoding: Annotated[
        str, typer.Option(help="Of FILE, such as gb18030; auto: UTF-8, or UTF-16 by its bytes.")
    ] = "auto",
    max_rejected_fraction: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the captions that may be lost.")
    ] = 0.01,
    items: ItemsOption = None,
) -> None:
    """A caption set as a data folder; every caption is a clicked row."""
    from tfx_pipeline.data.captions import Place, write_captions
    from tfx_pipeline.data.items import check_items, copy_items
    from tfx_pipeline.data.rejected import FOLDER, describe
    from vl_models.errors import UserError
    from vl_models.terminal import echo

    if link and copy:
        raise UserError("--link and --copy exclude each other: give one of them.")
    if items is not None:
        check_items(items)
    place: Place = "reference"
    if link or copy:
        place = "link" if link else "copy"
    summary = write_captions(
        file,
        images,
        out,
        name=name,
        place=place,
        form=form,
        encoding=encoding,
        max_rejected_fraction=max_rejected_fraction,
    )
    if items is not None:
        copy_items(items, out)
    accepted, rejected = summary.captions, summary.rejected
    echo(
        f"{out}: {accepted:,} captions of {summary.images:,} images ({summary.form})"
        + (f", {summary.unassigned:,} without a split" if summary.unassigned else "")
        + f". Read {summary.read:,} = {accepted:,} accepted + {rejected:,} rejected."
    )
    if told := describe(out / FOLDER):
        echo(f"{told}.")


def _questions(form: str, about: str) -> None:
    """Add a command that reads questions in a published form."""

    def command(
        context: typer.Context,
        files: Annotated[
            list[Path],
            typer.Argument(metavar="FILE...", help="Of all splits, which their names tell."),
        ],
        images: Annotated[Path, typer.Option(help="Folder with the images, at any depth.")],
        out: Annotated[Path, typer.Option(help="Data folder to write.", callback=on_disk)],
        name: Annotated[str | None, typer.Option(help="Name of the data set.")] = None,
        min_occurrences: Annotated[
            int, typer.Option(min=1, help="Of vqa: fewest questions of an answer that is learnt.")
        ] = 9,
        max_rejected_fraction: Annotated[
            float, typer.Option(min=0, max=1, help="Share of the questions that may be lost.")
        ] = 0.01,
    ) -> None:
        if form != "vqa":
            _refuse(context, form, "min_occurrences")
        from tfx_pipeline.data.questions.write import write_questions
        from tfx_pipeline.data.rejected import FOLDER, describe
        from vl_models.terminal import echo

        summary = write_questions(
            form,
            files,
            images,
            out,
            name=name,
            min_occurrences=min_occurrences,
            max_rejected_fraction=max_rejected_fraction,
        )
        counts = ", ".join(f"{count:,} {split}" for split, count in summary.splits.items())
        unanswered = f", {summary.unanswered:,} of train without one" if summary.unanswered else ""
        echo(
            f"{out}: {summary.questions:,} questions ({counts}) about {summary.images:,} images, "
            f"{summary.answers:,} answers{unanswered}. Read {summary.read:,} = "
            f"{summary.questions:,} accepted + {summary.rejected:,} rejected."
        )
        if told := describe(out / FOLDER):
            echo(f"{told}.")

    command.__doc__ = about
    app.command(form)(command)


_questions(
    "vqa",
    """VQA v2: questions and annotations as JSON, with soft scores min(1, annotators / 3).

    Files of questions and of annotations are told apart by their content.
    """,
)
_questions("nlvr2", "NLVR2: JSON lines of sentences about two images, true or false.")
_questions("snli_ve", "SNLI-VE: JSON lines of hypotheses: entailment, neutral or contradiction.")


@app.command()
def features(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help=".npz or .mat files.")],
    out: Annotated[Path, typer.Argument(help="Data folder to write.", callback=on_disk)],
    image: Annotated[str, typer.Option(metavar="KEY", help="Array of image features [n, d].")],
    text: Annotated[str, typer.Option(metavar="KEY", help="Array of text features [n, d].")],
    label: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Labels: whole numbers [n], or multi-hot [n, classes]."),
    ] = None,
    text_label: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Labels of the texts, if theirs are another system."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Splits [n]: the strings train, val, test."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the data set.")] = None,
    classes: Annotated[
        int | None, typer.Option(help="Labels must be below it; else those that occur count.")
    ] = None,
    allow_missing: Annotated[
        bool,
        typer.Option("--allow-missing", help="A row of NaN alone is a missing image or text."),
    ] = False,
    val_share: Annotated[
        float, typer.Option(help="Share of train that becomes val where no row is val.")
    ] = 0.1,
    test_share: Annotated[
        float, typer.Option(help="Share of all rows that becomes test without --split.")
    ] = 0.2,
    seed: Annotated[int, typer.Option(help="Seed of the rows drawn for val and test.")] = 1,
) -> None:
    """Precomputed features of images and texts, for the systems of a common space.

    KEY is the name of an array in one of the files. MATLAB files of versions 5 to 7.3 are read.
    """
    from tfx_pipeline.data.feature_set import FILE_NAME, read_feature_set
    from tfx_pipeline.data.folder import DataFolder

    data = read_feature_set(
        files,
        image=image,
        text=text,
        label=label,
        text_label=text_label,
        split=split,
        classes=classes,
        allow_missing=allow_missing,
        val_share=val_share,
        test_share=test_share,
        seed=seed,
    )
    folder = DataFolder(
        kind="features", name=name or out.resolve().name, images=None, features=FILE_NAME
    )
    _write(data, folder, out)


@app.command("extract-features")
def extract_features(
    data: Annotated[
        str, typer.Argument(help="Data folder of clicks or captions: a path, s3:// or gs://.")
    ],
    out: Annotated[Path, typer.Argument(help="Data folder to write.", callback=on_disk)],
    towers: Annotated[
        Path,
        typer.Option(
            help="Exported towers: a release root, a run folder, or a folder that holds "
            "image_tower/ and text_tower/."
        ),
    ],
    texts_per_image: Annotated[
        int, typer.Option(min=1, help="Rows per image: its most clicked texts.")
    ] = 1,
    split_by_image: Annotated[
        bool, typer.Option("--split-by-image", help="Draw the splits anew, by image.")
    ] = False,
    val_share: Annotated[float, typer.Option(help="With --split-by-image.")] = 0.1,
    test_share: Annotated[float, typer.Option(help="With --split-by-image.")] = 0.2,
    seed: Annotated[int, typer.Option(help="With --split-by-image.")] = 1,
) -> None:
    """Features by exported towers, so that a common space is trained on top of frozen ones."""
    from tfx_pipeline.data.extracted_set import extract_feature_set
    from tfx_pipeline.data.feature_extraction import find_towers
    from tfx_pipeline.data.feature_set import FILE_NAME
    from tfx_pipeline.data.folder import DataFolder

    source = DataFolder.load(data)
    found = find_towers(towers)
    rows = extract_feature_set(
        source,
        found,
        texts_per_image=texts_per_image,
        split_by_image=split_by_image,
        val_share=val_share,
        test_share=test_share,
        seed=seed,
    )
    folder = DataFolder(
        kind="features",
        name=source.name,
        images=None,
        features=FILE_NAME,
        towers=str(towers.resolve()),
        about=f"Of {source.name}, by the towers named above.",
    )
    _write(rows, folder, out)


def _write(data: FeatureSet, folder: DataFolder, out: Path) -> None:
    """Write a data folder of features, and say what is in it."""
    from vl_models.terminal import echo

    assert folder.features is not None
    out.mkdir(parents=True, exist_ok=True)
    data.save(out / folder.features)
    folder.save(out)
    counts = ", ".join(f"{count:,} {part}" for part, count in data.counts().items())
    echo(
        f"{out}: {len(data.split):,} rows ({counts}), images of {data.image.shape[1]:,} numbers, "
        f"texts of {data.text.shape[1]:,}, {len(data.label_names)} classes."
    )
