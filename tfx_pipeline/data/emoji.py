"""The demo data: emoji images, their names and keywords in English and Chinese, and clicks.

Images (Noto Color Emoji) and words (Unicode CLDR) are real; the clicks are simulated by
click_model.py and the data says so. One true pair in ten, or all pairs of one image in ten, are
held out as test pairs: they are shown to nobody in train or val.
"""

from __future__ import annotations

import dataclasses
import datetime
import shutil
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from pyarrow.csv import write_csv

from tfx_pipeline.data.cldr import Annotation, read_annotations, read_groups
from tfx_pipeline.data.click_model import PAGE, ClickModel, Impressions, Simulator
from tfx_pipeline.data.config import PropensityConfig, SplitConfig
from tfx_pipeline.data.emoji_tasks.pictures import make_pictures
from tfx_pipeline.data.emoji_tasks.write import remove_tasks, write_tasks
from tfx_pipeline.data.folder import DataFolder
from tfx_pipeline.data.glyphs import CANVAS, GlyphPainter, image_id
from tfx_pipeline.data.questions.write import QuestionSummary
from tfx_pipeline.data.tables import write_parquet
from vl_models.errors import UserError
from vl_models.features import SPLITS

LANGUAGES = ("en", "zh")
ITEMS_FILE = "items.csv"
FIRST_DAY = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
_START = int(FIRST_DAY.timestamp())
_TEST_SHARE, _VAL_SHARE = 0.10, 0.05

ABOUT = """\
Emoji search: a demonstration data set.

Real: the images are the glyphs of the Noto Color Emoji font (Debian package
fonts-noto-color-emoji, SIL Open Font License), drawn over white. The words are the short
names and keywords that the Unicode CLDR gives them in English and Chinese (Debian package
unicode-cldr-core, Unicode licence). label_text is the CLDR's character group
(properties/labels.txt); emoji newer than that file have none.

Simulated: the clicks. Nobody searched. Sessions of ten results are drawn from a
position-based click model (examination 1 / position ** {eta}) over graded relevance (name 2,
keyword 1), with noise clicks on irrelevant images and queries by Zipf's law; an image that
has no click yet is ranked first until it has one. Seed {seed}.

Splits (column `split`, {policy}): {test} of the {pairs} true pairs are test pairs. They are shown
in no session; they are in the log as one clicked row each, without a position. {val} are val
pairs; they and the train pairs are shown in the same sessions. Noise never enters test.
"""

SplitPolicy = Literal["by_pair", "by_image"]


@dataclasses.dataclass(frozen=True)
class EmojiSummary:
    """What was written."""

    images: int
    queries: int
    pairs: int
    test_pairs: int
    impressions: int
    clicks: int
    days: int
    questions: Mapping[str, QuestionSummary]  # by task


@dataclasses.dataclass(frozen=True)
class _Pairs:
    """True pairs: columns by pair, and what their numbers stand for."""

    query: np.ndarray
    image: np.ndarray
    grade: np.ndarray
    split: np.ndarray  # 0 train, 1 val, 2 test
    texts: list[str]
    languages: list[str]
    image_split: np.ndarray | None  # by image; None if pairs are divided


def write_emoji(
    out: str | Path,
    *,
    days: int = 7,
    impressions: int = 240_000,
    seed: int = 1,
    size: int = 72,
    limit: int | None = None,
    split: SplitPolicy = "by_pair",
    tasks: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> EmojiSummary:
    """Write the emoji data folder.

    Args:
        out: folder; made if missing, must be empty or an earlier emoji folder.
        days: number of spans.
        impressions: at least so many shown results in train and val.
        seed: of splits and clicks; the same seed gives the same bytes.
        size: shorter side of the images in pixels, at most 128.
        limit: only the first so many emoji, for quick tests.
        split: draw test and val pairs (by_pair), or images and with each all its pairs (by_image):
            then no image of test is shown in train or val, and none of val belongs to train.
        tasks: also write `vqa/`, `nlvr2/` and `snli_ve/`, data folders of questions about the
            images; needs `split` by_image.
        progress: called with (images done, images in all).

    Raises:
        UserError: a Debian package is missing (named), or a value is out of range.
    """
    for name, value, low, high in (
        ("days", days, 1, 366),
        ("impressions", impressions, 1, 10**9),
        ("size", size, 16, 128),
        ("limit", 10 if limit is None else limit, 10, 10**6),
    ):
        if not low <= value <= high:
            raise UserError(f"{name} must be between {low} and {high}. Received: {name}={value}")
    if tasks and split != "by_image":
        raise UserError(
            "Questions about images that training has not seen need --split by_image. "
            f"Received: split={split}"
        )
    out = Path(out)
    if (out / "data.yaml").is_file() and DataFolder.load(out).name != "emoji":
        raise UserError(f"{out}: holds another data set. Choose an empty folder.")
    annotations = {language: read_annotations(language) for language in LANGUAGES}
    names = [c for c in annotations["en"] if all(c in annotations[lang] for lang in LANGUAGES)]
    for part in ("images", "log"):
        shutil.rmtree(out / part, ignore_errors=True)
    remove_tasks(out)
    emoji = _write_images(names, out / "images", size, limit, progress)
    pairs = _true_pairs(emoji, annotations, seed, split)
    model = ClickModel()
    table = _log(emoji, pairs, model, impressions, days, seed)
    _write_log(table, out / "log", days)
    write_csv(_items(emoji, annotations), out / ITEMS_FILE)
    shares = np.bincount(pairs.split, minlength=3)
    about = ABOUT.format(
        eta=model.eta,
        seed=seed,
        policy=split,
        test=shares[2],
        val=shares[1],
        pairs=len(pairs.query),
    )
    (out / "README.txt").write_text(about, encoding="utf-8")
    DataFolder(
        kind="clicks",
        name="emoji",
        log="log/span-{SPAN}/*.parquet",
        format="parquet",
        splits=SplitConfig(policy="given"),
        propensity=PropensityConfig(mode="given", eta=model.eta, max_positions=PAGE),
        about="Emoji images and CLDR words are real; clicks are simulated. See README.txt.",
    ).save(out)
    questions: dict[str, QuestionSummary] = {}
    if tasks:
        assert pairs.image_split is not None
        splits = [SPLITS[number] for number in pairs.image_split]
        pictures = make_pictures(emoji, annotations, read_groups(), splits)
        questions = write_tasks(out, pictures, out / "images", seed)
    clicks = int(pa.compute.sum(table["clicked"]).as_py())
    shown = int(table.num_rows - shares[2])
    return EmojiSummary(
        len(emoji),
        len(pairs.texts),
        len(pairs.query),
        int(shares[2]),
        shown,
        clicks,
        days,
        questions,
    )


def _write_images(
    names: list[str],
    folder: Path,
    size: int,
    limit: int | None,
    progress: Callable[[int, int], None],
) -> list[str]:
    """Draw the emoji that the font has; returns them in order."""
    from PIL import Image

    painter = GlyphPainter()
    folder.mkdir(parents=True, exist_ok=True)
    shape = (round(size * CANVAS[0] / CANVAS[1]), size)
    drawn: list[str] = []
    for done, character in enumerate(names):
        progress(done, len(names))
        glyph = painter.draw(character)
        if glyph is None:
            continue
        white = Image.new("RGB", CANVAS, "white")
        white.paste(glyph, mask=glyph.getchannel("A"))
        white.resize(shape, Image.Resampling.LANCZOS).save(folder / f"{image_id(character)}.png")
        drawn.append(character)
        if len(drawn) == limit:
            break
    progress(len(names), len(names))
    return drawn


def _items(emoji: list[str], annotations: dict[str, dict[str, Annotation]]) -> pa.Table:
    """Return what a search tells of each emoji beside its picture."""
    groups = read_groups()
    labels = [groups.get(character) or groups.get(character[0]) or "" for character in emoji]
    return pa.table(
        {
            "id": [image_id(character) for character in emoji],
            "name": [annotations["en"][character].name for character in emoji],
            "name_zh": [annotations["zh"][character].name for character in emoji],
            "group": [label.partition("/")[0] or None for label in labels],
            "kind": [label.partition("/")[2] or None for label in labels],
            "characters": [len(character) for character in emoji],
        }
    )


def _true_pairs(
    emoji: list[str],
    annotations: dict[str, dict[str, Annotation]],
    seed: int,
    policy: SplitPolicy,
) -> _Pairs:
    """All (query, emoji) pairs; queries that normalise to the same text are one query."""
    grades: dict[tuple[str, int], int] = {}
    texts: dict[str, tuple[str, str]] = {}  # folded → (as written, language)
    for language in LANGUAGES:
        for number, character in enumerate(emoji):
            annotation = annotations[language][character]
            for text, grade in ((annotation.name, 2), *((k, 1) for k in annotation.keywords)):
                folded = _fold(text)
                texts.setdefault(folded, (text, language))
                grades[folded, number] = max(grades.get((folded, number), 0), grade)
    numbers = {folded: number for number, folded in enumerate(texts)}
    query = np.array([numbers[folded] for folded, _ in grades])
    image = np.array([number for _, number in grades])
    image_split = None
    if policy == "by_image":
        image_split = split_at_random(len(emoji), seed)
        split = image_split[image]
    else:
        split = split_at_random(len(grades), seed)
    return _Pairs(
        query,
        image,
        np.array(list(grades.values())),
        split,
        [text for text, _ in texts.values()],
        [language for _, language in texts.values()],
        image_split,
    )


def split_at_random(number: int, seed: int) -> np.ndarray:
    """Draw a tenth for test (2) and a twentieth for val (1); the rest is train (0): int64[n]."""
    order = np.random.default_rng([seed, 1]).permutation(number)
    test, val = round(_TEST_SHARE * number), round(_VAL_SHARE * number)
    split = np.zeros(number, np.int64)
    split[order[:test]] = 2
    split[order[test : test + val]] = 1
    return split


def _fold(text: str) -> str:
    """Return the equivalence of query normalisation, without TensorFlow."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower())
    return " ".join(folded.split())


def _log(
    emoji: list[str], pairs: _Pairs, model: ClickModel, impressions: int, days: int, seed: int
) -> pa.Table:
    """Return the click log, ordered by time."""
    held_out = pairs.split == 2
    shown = _simulate(len(emoji), pairs, model, impressions, seed)
    split = _split_of_shown(shown, pairs, len(emoji), seed)
    rng = np.random.default_rng([seed, 2])
    moments = np.sort(rng.integers(0, days * 86_400, int(shown.session.max()) + 1))
    count = int(held_out.sum())
    tests = np.sort(rng.integers(0, days * 86_400, count))
    seconds = np.concatenate([moments[shown.session], tests])
    session = np.concatenate([shown.session, shown.session.max() + 1 + np.arange(count)])
    position = np.concatenate([shown.position, np.zeros(count, np.int64)])
    query = np.concatenate([shown.query, pairs.query[held_out]])
    image = np.concatenate([shown.image, pairs.image[held_out]])
    order = np.lexsort((position, session, seconds))
    query, image, position = query[order], image[order], position[order]
    groups = read_groups()
    labels = [groups.get(character) or groups.get(character[0]) for character in emoji]
    label_ids = {name: number for number, name in enumerate(sorted({x for x in labels if x}))}
    clicked = np.concatenate([shown.clicked, np.ones(count, np.int64)])[order]
    splits = np.concatenate([split, np.full(count, 2)])[order]
    return pa.table(
        {
            "query": pa.array(pairs.texts).take(pa.array(query)),
            "image_id": pa.array([image_id(c) for c in emoji]).take(pa.array(image)),
            "clicked": pa.array(clicked, pa.int8()),
            "position": pa.array(position, pa.int32(), mask=position == 0),
            "session_id": pa.array([f"s{number:07d}" for number in session[order]]),
            "timestamp": pa.array((_START + seconds[order]) * 1_000_000, pa.timestamp("us", "UTC")),
            "language": pa.array(pairs.languages).take(pa.array(query)),
            "label": pa.array([label_ids.get(x or "") for x in labels]).take(pa.array(image)),
            "label_text": pa.array(labels, pa.string()).take(pa.array(image)),
            "split": pa.array(SPLITS).take(pa.array(splits)),
        }
    )


def _simulate(
    images: int, pairs: _Pairs, model: ClickModel, impressions: int, seed: int
) -> Impressions:
    """Show the pairs that are not held out; images of test to nobody, not even as noise."""
    store = np.arange(images)
    if pairs.image_split is not None:
        store = np.flatnonzero(pairs.image_split != 2)
    held_out = pairs.split == 2
    place = np.searchsorted(store, pairs.image)
    forbidden = (pairs.query * len(store) + place)[held_out & np.isin(pairs.image, store)]
    simulator = Simulator(
        pairs.query[~held_out],
        place[~held_out],
        pairs.grade[~held_out],
        forbidden,
        len(store),
        model,
        seed,
    )
    shown = simulator.run(impressions)
    return dataclasses.replace(shown, image=store[shown.image])


def _split_of_shown(shown: Impressions, pairs: _Pairs, images: int, seed: int) -> np.ndarray:
    """Split of each shown result: its pair's; of noise, its image's, or train or val by pair."""
    if pairs.image_split is not None:
        return pairs.image_split[shown.image]
    keys, of_shown = (p.query * images + p.image for p in (pairs, shown))
    order = np.argsort(keys)
    at = np.minimum(np.searchsorted(keys[order], of_shown), len(keys) - 1)
    true = keys[order][at] == of_shown
    noise, which = np.unique(of_shown[~true], return_inverse=True)
    share = _VAL_SHARE / (1 - _TEST_SHARE)
    of_noise = (np.random.default_rng([seed, 3]).random(len(noise)) < share).astype(np.int64)
    result = np.empty(len(of_shown), np.int64)
    result[true] = pairs.split[order][at[true]]
    result[~true] = of_noise[which]
    return result


def _write_log(table: pa.Table, folder: Path, days: int) -> None:
    """One file a day; the log is ordered by time."""
    seconds = table["timestamp"].cast(pa.int64()).to_numpy() // 1_000_000
    edges = np.searchsorted(seconds, _START + 86_400 * np.arange(days + 1))
    for number in range(days):
        day = FIRST_DAY + datetime.timedelta(days=number)
        path = folder / f"span-{day:%Y%m%d}" / "clicks.parquet"
        part = table.slice(int(edges[number]), int(edges[number + 1] - edges[number]))
        write_parquet(part, path, row_group_size=100_000)
