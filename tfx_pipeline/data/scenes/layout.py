"""Where the pictures of a scene are, and the same scene with the pictures exchanged."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

PLACES = ("left", "right", "top", "bottom")
SIZES = ("small", "big")
RELATIONS = ("left", "above", "size", "count")  # of two pictures
ALONE = "alone"
_MEDIUM = (0.40, 0.44)
_BIG, _SMALL = 0.5, 0.25
_OF_THREE = 0.38
_ALONE = {"small": (0.3, 0.28), "big": (0.6, 0.18)}  # side, and distance from the centre


@dataclasses.dataclass(frozen=True)
class Placed:
    """A picture in a scene; all lengths are shares of the canvas' side.

    Attributes:
        picture: its number in the pool.
        x, y: its centre, from the left and from the top.
        side: its longer side.
    """

    picture: int
    x: float
    y: float
    side: float


@dataclasses.dataclass(frozen=True)
class Scene:
    """What is on a canvas.

    Attributes:
        relation: what the scene was laid out for: one of `RELATIONS`, or `ALONE`.
        name: unlike that of any other scene of these pictures.
        objects: the pictures with their places.
    """

    relation: str
    name: str
    objects: tuple[Placed, ...]

    @property
    def pictures(self) -> tuple[int, ...]:
        """The numbers of its pictures, each once, sorted."""
        return tuple(sorted({placed.picture for placed in self.objects}))


def alone(picture: int, place: str, size: str, rng: np.random.Generator) -> Scene:
    """Return a scene of a single picture.

    Args:
        picture: its number.
        place: one of `PLACES`.
        size: one of `SIZES`.
        rng: moves it a little.
    """
    side, distance = _ALONE[size]
    off, aside = distance + rng.uniform(-0.02, 0.02), rng.uniform(-0.05, 0.05)
    x, y = {
        "left": (-off, aside),
        "right": (off, aside),
        "top": (aside, -off),
        "bottom": (aside, off),
    }[place]
    return Scene(ALONE, f"{place}-{size}", (Placed(picture, 0.5 + x, 0.5 + y, side),))


def twins(relation: str, first: int, second: int, rng: np.random.Generator) -> tuple[Scene, Scene]:
    """Return a scene in which the relation holds of (first, second), and its swapped twin.

    In the twin it holds of (second, first) and no longer of (first, second); nothing else
    differs. `left`, `above`: the first is left of, or above, the second. `size`: the first is
    big and the second small; each stays on its side. `count`: the first is there twice.

    Args:
        relation: one of `RELATIONS`.
        first: number of a picture.
        second: number of another one.
        rng: moves and turns the scene.
    """
    objects = _LAYOUTS[relation](first, second, rng)
    exchanged = {first: second, second: first}
    swapped = [dataclasses.replace(o, picture=exchanged[o.picture]) for o in objects]
    if relation == "size":  # mirrored, so that only the sizes change places
        swapped = [dataclasses.replace(o, x=1 - o.x, y=1 - o.y) for o in swapped]
    return Scene(relation, "", objects), Scene(relation, "", tuple(swapped))


def _left(first: int, second: int, rng: np.random.Generator) -> tuple[Placed, ...]:
    side = rng.uniform(*_MEDIUM)
    return tuple(
        Placed(picture, x + rng.uniform(-0.01, 0.01), rng.uniform(0.4, 0.6), side)
        for picture, x in ((first, 0.27), (second, 0.73))
    )


def _above(first: int, second: int, rng: np.random.Generator) -> tuple[Placed, ...]:
    return tuple(dataclasses.replace(o, x=o.y, y=o.x) for o in _left(first, second, rng))


def _size(first: int, second: int, rng: np.random.Generator) -> tuple[Placed, ...]:
    aside = rng.uniform(0.45, 0.55, 2)
    objects = (Placed(first, 0.28, aside[0], _BIG), Placed(second, 0.78, aside[1], _SMALL))
    return _turned(objects, rng)


def _count(first: int, second: int, rng: np.random.Generator) -> tuple[Placed, ...]:
    centres = ((first, 0.26, 0.25), (first, 0.26, 0.75), (second, 0.74, 0.5))
    objects = tuple(
        Placed(picture, x + rng.uniform(-0.02, 0.02), y + rng.uniform(-0.02, 0.02), _OF_THREE)
        for picture, x, y in centres
    )
    return _turned(objects, rng)


def _turned(objects: tuple[Placed, ...], rng: np.random.Generator) -> tuple[Placed, ...]:
    """Turn the places by a random multiple of 90 degrees; the pictures stay upright."""
    for _ in range(rng.integers(4)):
        objects = tuple(dataclasses.replace(o, x=1 - o.y, y=o.x) for o in objects)
    return objects


_LAYOUTS: dict[str, Callable[[int, int, np.random.Generator], tuple[Placed, ...]]] = {
    "left": _left,
    "above": _above,
    "size": _size,
    "count": _count,
}
