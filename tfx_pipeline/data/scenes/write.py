"""The data folder of scenes: images, a log of the sentences that are true, items with their twins.

For systems that read image and text together: a scene and its twin show the same pictures, and
only who is where, how big, or there twice tells which one a sentence is about.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from serving.files import write_atomically
from tfx_pipeline.data.config import CorrelationConfig, SplitConfig
from tfx_pipeline.data.folder import FILE_NAME, DataFolder
from tfx_pipeline.data.glyphs import image_id
from tfx_pipeline.data.scenes.layout import PLACES, RELATIONS, SIZES, Scene, alone, twins
from tfx_pipeline.data.scenes.pictures import NamedEmoji, choose_pictures
from tfx_pipeline.data.scenes.statements import main_statement, sentences, true_statements
from tfx_pipeline.data.tables import write_parquet
from vl_models.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

NAME = "emoji-scenes"
ITEMS = "items.parquet"
DEFAULT_PICTURES = 48
_LOG = "log/scenes.parquet"

ABOUT = """\
Scenes: a data set for reading image and text together.

Real: the pictures are glyphs of Noto Color Emoji (Debian package fonts-noto-color-emoji, SIL Open
Font License), and their names are those of the Unicode CLDR in English and Chinese (Debian package
unicode-cldr-core, Unicode licence). Composed: the scenes, of {pictures} pictures, and the sentences
by template. Every sentence that is true of a scene is in the log, as one clicked row. Seed {seed}.

{single} scenes show one picture, {paired} show two different ones, one of them perhaps twice. Each
of these has a twin with the same pictures exchanged, of which its main sentence is false.
items.parquet names for each image its relation (alone, left, above, size, count), the main sentence
in both languages, its twin, and the pictures with their places (x, y of the centre, and the longer
side, as shares of the canvas).

Splits (column `split`): by the combination of pictures. No two that are together in a scene of one
split are together in another. Single pictures are all in train. {test} scenes are of test, {val} of
val.
"""


@dataclasses.dataclass(frozen=True)
class SceneSummary:
    """What was written: scenes in all and by split, rows of the log, distinct sentences."""

    pictures: int
    scenes: int
    val: int
    test: int
    rows: int
    sentences: int


@dataclasses.dataclass(frozen=True)
class _Item:
    """A scene of the data set; `twin` is the id of another one, "" where there is none."""

    image_id: str
    scene: Scene
    twin: str
    split: str


def write_scenes(
    out: str | Path,
    scenes: int,
    *,
    pictures: int = DEFAULT_PICTURES,
    seed: int = 1,
    size: int = 72,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> SceneSummary:
    """Write a data folder of scenes.

    Args:
        out: folder; made if missing, must be empty or an earlier folder of scenes.
        scenes: how many; one less if that leaves a scene without its twin.
        pictures: how many emoji they are composed of.
        seed: of layouts and splits; the same seed gives the same bytes.
        size: side of the images in pixels.
        progress: called with (images done, images in all).

    Raises:
        UserError: a Debian package is missing (named), or a value is out of range.
    """
    if not 32 <= size <= 256:
        raise UserError(f"size must be between 32 and 256. Received: size={size}")
    out = Path(out)
    if (out / FILE_NAME).is_file() and DataFolder.load(out).name != NAME:
        raise UserError(f"{out}: holds another data set. Choose an empty folder.")
    pool = choose_pictures(pictures)
    known = [picture for picture, _ in pool]
    items = list(_compose(known, scenes, seed))
    for part in ("images", "log"):
        shutil.rmtree(out / part, ignore_errors=True)
    _write_images(items, [glyph for _, glyph in pool], out / "images", size, progress)
    log = _log(items, known)
    write_parquet(log, out / _LOG)
    write_parquet(_items(items, known), out / ITEMS)
    counts = {split: sum(item.split == split for item in items) for split in ("val", "test")}
    single = sum(not item.twin for item in items)
    about = ABOUT.format(
        pictures=pictures, seed=seed, single=single, paired=len(items) - single, **counts
    )
    write_atomically(out / "README.txt", about)
    DataFolder(
        kind="clicks",
        name=NAME,
        log=_LOG,
        format="parquet",
        splits=SplitConfig(policy="given"),
        correlation=CorrelationConfig(mode="strong"),
        about="Scenes composed of emoji, and sentences by template. See README.txt.",
    ).save(out)
    distinct = len(pa.compute.unique(log["query"]))
    return SceneSummary(pictures, len(items), counts["val"], counts["test"], len(log), distinct)


def _compose(pictures: Sequence[NamedEmoji], scenes: int, seed: int) -> Iterator[_Item]:
    """Lay out the scenes: each single picture everywhere, then twins, combination by combination.

    Raises:
        UserError: the pictures do not give so many scenes, or so few.
    """
    number = len(pictures)
    combinations = [(one, other) for other in range(number) for one in range(other)]
    single = number * len(PLACES) * len(SIZES)
    fewest = single + 2 * len(RELATIONS) * 8  # each split gets scenes of every relation
    most = single + 2 * len(RELATIONS) * len(combinations)
    if not fewest <= scenes <= most:
        raise UserError(
            f"{number} pictures make {fewest} to {most} scenes. Received: scenes={scenes}. Give "
            "another number, or other --pictures."
        )
    rng = np.random.default_rng([seed, 7])
    for picture in range(number):
        for place in PLACES:
            for extent in SIZES:
                scene = alone(picture, place, extent, rng)
                yield _Item(_name(scene, (picture,), pictures), scene, "", "train")
    order = rng.permutation(len(combinations))
    for i in range((scenes - single) // 2):
        relation, rank = RELATIONS[i % len(RELATIONS)], i // len(RELATIONS)
        pair = combinations[order[rank]]
        pair = pair if rng.integers(2) else (pair[1], pair[0])
        split = _split(rank)
        both = twins(relation, pair[0], pair[1], rng)
        names = [_name(scene, p, pictures) for scene, p in zip(both, (pair, pair[::-1]))]
        for scene, name, twin in zip(both, names, reversed(names)):
            yield _Item(name, scene, twin, split)


def _split(rank: int) -> str:
    """Split of the combination with this place in a random order: 15 % test, 5 % val."""
    return {1: "test", 4: "val", 7: "test", 14: "test"}.get(rank % 20, "train")


def _name(scene: Scene, order: Sequence[int], pictures: Sequence[NamedEmoji]) -> str:
    """Id of a scene, such as `left-u1f415-u1f408`, in the order of its main statement."""
    names = [image_id(pictures[picture].character) for picture in order]
    return "-".join(filter(None, [scene.relation, *names, scene.name]))


def _write_images(
    items: Sequence[_Item],
    glyphs: Sequence[Image.Image],
    folder: Path,
    size: int,
    progress: Callable[[int, int], None],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for done, item in enumerate(items):
        progress(done, len(items))
        render(item.scene, glyphs, size).save(folder / f"{item.image_id}.png")
    progress(len(items), len(items))


def render(scene: Scene, glyphs: Sequence[Image.Image], size: int) -> Image.Image:
    """Draw a scene on white: RGB, `size` pixels square.

    Args:
        scene: what to draw.
        glyphs: RGBA, by the number of the picture.
        size: side of the canvas.
    """
    from PIL import Image

    canvas = Image.new("RGB", (size, size), "white")
    for placed in scene.objects:
        glyph = glyphs[placed.picture]
        scale = placed.side * size / max(glyph.size)
        shape = (max(1, round(scale * glyph.width)), max(1, round(scale * glyph.height)))
        small = glyph.resize(shape, Image.Resampling.LANCZOS)
        corner = (round(placed.x * size - shape[0] / 2), round(placed.y * size - shape[1] / 2))
        canvas.paste(small, corner, mask=small.getchannel("A"))
    return canvas


def _log(items: Sequence[_Item], pictures: Sequence[NamedEmoji]) -> pa.Table:
    """Every sentence that is true of a scene, as a clicked row."""
    rows = [
        {
            "query": text,
            "image_id": item.image_id,
            "clicked": 1,
            "language": language,
            "split": item.split,
        }
        for item in items
        for statement in true_statements(item.scene)
        for text, language in sentences(statement, pictures)
    ]
    return pa.Table.from_pylist(rows)


def _items(items: Sequence[_Item], pictures: Sequence[NamedEmoji]) -> pa.Table:
    """One row per image: what it shows, what is said of it first, and its twin."""
    schema = pa.schema(
        [
            ("id", pa.string()),
            ("relation", pa.string()),
            ("twin", pa.string()),  # null for scenes of one picture
            ("split", pa.string()),
            ("caption_en", pa.string()),  # true of the scene, false of its twin
            ("caption_zh", pa.string()),
            ("pictures", pa.list_(pa.string())),  # ids of the emoji, one for each object
            ("x", pa.list_(pa.float32())),
            ("y", pa.list_(pa.float32())),
            ("side", pa.list_(pa.float32())),
        ]
    )
    rows = []
    for item in items:
        said = sentences(main_statement(item.scene), pictures)
        rows.append(
            {
                "id": item.image_id,
                "relation": item.scene.relation,
                "twin": item.twin or None,
                "split": item.split,
                "caption_en": next(text for text, language in said if language == "en"),
                "caption_zh": next(text for text, language in said if language == "zh"),
                "pictures": [image_id(pictures[o.picture].character) for o in item.scene.objects],
                "x": [o.x for o in item.scene.objects],
                "y": [o.y for o in item.scene.objects],
                "side": [o.side for o in item.scene.objects],
            }
        )
    return pa.Table.from_pylist(rows, schema)
