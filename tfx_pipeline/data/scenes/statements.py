"""What can be said of a scene: when it is true, and how it is said in English and Chinese.

A statement claims that something is there, not that there is nothing else, except for those that
begin with "only" (只有). So "a dog left of a cat" is true of a scene with two dogs there.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

from tfx_pipeline.data.scenes.layout import ALONE, PLACES, SIZES, Placed, Scene
from tfx_pipeline.data.scenes.pictures import NamedEmoji

_BIGGER = 1.5  # a big one's side over a small one's, at least
_ONLY_SMALL = 0.45  # share of the canvas; below it a picture that is alone is small

_ENGLISH_PLACES = {
    "left": "on the left",
    "right": "on the right",
    "top": "at the top",
    "bottom": "at the bottom",
}
_CHINESE_PLACES = {"left": "左边", "right": "右边", "top": "上面", "bottom": "下面"}


@dataclasses.dataclass(frozen=True)
class Statement:
    """One thing that may be true of a scene.

    Attributes:
        kind: `both` are there; the first is `left` of or `above` the second; the first is big and
            the second small (`size`); the first is there twice beside the second (`count`); only
            the first is there, at a place (`place`) or of a size (`extent`).
        first: number of a picture.
        second: number of another one; -1 where only one is there.
        value: one of `PLACES` or `SIZES`, for `place` and `extent`.
    """

    kind: str
    first: int
    second: int = -1
    value: str = ""


def true_statements(scene: Scene) -> list[Statement]:
    """Return everything that is true of a scene, in a fixed order."""
    return [statement for statement in _candidates(scene) if holds(statement, scene)]


def main_statement(scene: Scene) -> Statement:
    """Return what the scene was laid out for: of two pictures, what is false of its twin."""
    wanted = "place" if scene.relation == ALONE else scene.relation
    return next(statement for statement in true_statements(scene) if statement.kind == wanted)


def holds(statement: Statement, scene: Scene) -> bool:
    """Whether a statement is true of a scene, by its geometry."""
    firsts = [placed for placed in scene.objects if placed.picture == statement.first]
    if statement.kind in ("place", "extent"):
        if len(scene.objects) != 1 or not firsts:
            return False
        described = _place(firsts[0]) if statement.kind == "place" else _extent(firsts[0])
        return described == statement.value
    seconds = [placed for placed in scene.objects if placed.picture == statement.second]
    if not firsts or not seconds:
        return False
    if statement.kind == "both":
        return True
    if statement.kind == "count":
        return len(firsts) >= 2
    pairs = itertools.product(firsts, seconds)
    if statement.kind == "size":
        return any(one.side >= _BIGGER * other.side for one, other in pairs)
    return any(_direction(one, other) == statement.kind for one, other in pairs)


def sentences(statement: Statement, pictures: Sequence[NamedEmoji]) -> list[tuple[str, str]]:
    """Return the ways to say it: (text, language), English first.

    Args:
        statement: what is said.
        pictures: the pool.
    """
    one = pictures[statement.first]
    a, yi = f"{one.article} {one.english}", f"一{one.measure}{one.chinese}"
    if statement.kind == "place":
        english, chinese = _ENGLISH_PLACES[statement.value], _CHINESE_PLACES[statement.value]
        return [(f"only {a}, {english}", "en"), (f"只有{yi}，在{chinese}", "zh")]
    if statement.kind == "extent":
        character = {"small": "小", "big": "大"}[statement.value]
        text = f"只有一{one.measure}{character}{one.chinese}"
        return [(f"only a {statement.value} {one.english}", "en"), (text, "zh")]
    other = pictures[statement.second]
    b, er = f"{other.article} {other.english}", f"一{other.measure}{other.chinese}"
    if statement.kind in ("left", "above"):
        there, back = {"left": ("left of", "right of"), "above": ("above", "below")}[statement.kind]
        zh_there, zh_back = {"left": ("左边", "右边"), "above": ("上面", "下面")}[statement.kind]
        return [
            (f"{a} {there} {b}", "en"),
            (f"{b} {back} {a}", "en"),
            (f"{yi}在{er}的{zh_there}", "zh"),
            (f"{er}在{yi}的{zh_back}", "zh"),
        ]
    if statement.kind == "size":
        a, b = f"a big {one.english}", f"a small {other.english}"
        yi, er = f"一{one.measure}大{one.chinese}", f"一{other.measure}小{other.chinese}"
    elif statement.kind == "count":
        a, yi = f"two {one.plural}", f"两{one.measure}{one.chinese}"
    return [
        (f"{a} and {b}", "en"),
        (f"{b} and {a}", "en"),
        (f"{yi}和{er}", "zh"),
        (f"{er}和{yi}", "zh"),
    ]


def _candidates(scene: Scene) -> list[Statement]:
    """Everything that could be said of the scene's pictures."""
    if len(scene.pictures) == 1:
        [only] = scene.pictures
        placed = [Statement("place", only, value=place) for place in PLACES]
        return placed + [Statement("extent", only, value=size) for size in SIZES]
    one, other = scene.pictures
    return [Statement("both", one, other)] + [
        Statement(kind, *pair)
        for kind in ("left", "above", "size", "count")
        for pair in ((one, other), (other, one))
    ]


def _direction(one: Placed, other: Placed) -> str:
    """Where the first is, seen from the second, by the larger distance of the centres."""
    x, y = other.x - one.x, other.y - one.y
    if abs(x) > abs(y):
        return "left" if x > 0 else "right"
    return "above" if y > 0 else "below"


def _place(placed: Placed) -> str:
    x, y = placed.x - 0.5, placed.y - 0.5
    if abs(x) > abs(y):
        return "left" if x < 0 else "right"
    return "top" if y < 0 else "bottom"


def _extent(placed: Placed) -> str:
    return "small" if placed.side < _ONLY_SMALL else "big"
