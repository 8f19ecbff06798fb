"""That statements are true of what is drawn: of coloured squares, seen by their pixels."""

import numpy as np
import pytest
from PIL import Image

from tfx_pipeline.data.scenes.layout import PLACES, RELATIONS, SIZES, alone, twins
from tfx_pipeline.data.scenes.pictures import NamedEmoji
from tfx_pipeline.data.scenes.statements import (
    Statement,
    main_statement,
    sentences,
    true_statements,
)
from tfx_pipeline.data.scenes.write import render

SIZE = 100
DOG, OWL = 0, 1
POOL = (NamedEmoji("d", "dog", "狗", "只"), NamedEmoji("o", "owl", "猫头鹰", "只"))
SQUARES = [Image.new("RGBA", (50, 50), colour) for colour in ("red", "blue")]


def masks(scene):
    """Where the two pictures are, bool [100, 100] each."""
    pixels = np.asarray(render(scene, SQUARES, SIZE))
    return [np.all(pixels == colour, axis=-1) for colour in ((255, 0, 0), (0, 0, 255))]


def drawn(scene):
    """Centre (x, y) and area of each picture, None for one that is not there."""
    return [
        (np.argwhere(mask).mean(axis=0)[::-1], mask.sum()) if mask.any() else None
        for mask in masks(scene)
    ]


@pytest.mark.parametrize("seed", range(20))
def test_left_and_above_are_so_in_the_pixels(seed):
    rng = np.random.default_rng(seed)
    for relation, axis in (("left", 0), ("above", 1)):
        scene, twin = twins(relation, DOG, OWL, rng)
        (dog, _), (owl, _) = drawn(scene)
        assert owl[axis] - dog[axis] > 0.4 * SIZE
        assert abs(owl[1 - axis] - dog[1 - axis]) < 0.25 * SIZE
        (dog_there, _), (owl_there, _) = drawn(twin)
        np.testing.assert_allclose([dog_there, owl_there], [owl, dog], atol=0.5)


@pytest.mark.parametrize("seed", range(20))
def test_big_and_small_are_areas_and_each_stays_on_its_side(seed):
    scene, twin = twins("size", DOG, OWL, np.random.default_rng(seed))
    (dog, dog_area), (owl, owl_area) = drawn(scene)
    assert dog_area > 3.5 * owl_area
    (dog_there, dog_area), (owl_there, owl_area) = drawn(twin)
    assert owl_area > 3.5 * dog_area
    axis = int(np.argmax(np.abs(owl - dog)))
    assert np.sign(owl - dog)[axis] == np.sign(owl_there - dog_there)[axis]


@pytest.mark.parametrize("seed", range(20))
def test_two_of_one_are_twice_its_area(seed):
    scene, twin = twins("count", DOG, OWL, np.random.default_rng(seed))
    (_, dogs), (_, owls) = drawn(scene)
    assert dogs == pytest.approx(2 * owls, rel=0.06)
    (_, dogs), (_, owls) = drawn(twin)
    assert owls == pytest.approx(2 * dogs, rel=0.06)


@pytest.mark.parametrize("relation", RELATIONS)
def test_no_picture_covers_another_or_leaves_the_canvas(relation):
    rng = np.random.default_rng(3)
    for _ in range(20):
        for scene in twins(relation, DOG, OWL, rng):
            sides = [round(o.side * SIZE) ** 2 for o in scene.objects]
            assert sum(mask.sum() for mask in masks(scene)) == sum(sides)


def test_a_picture_alone_is_where_and_as_big_as_is_said():
    rng = np.random.default_rng(4)
    areas = {"small": [], "big": []}
    for place in PLACES:
        for size in SIZES:
            scene = alone(OWL, place, size, rng)
            (x, y), area = drawn(scene)[OWL]
            areas[size].append(area)
            away = {"left": 50 - x, "right": x - 50, "top": 50 - y, "bottom": y - 50}
            assert max(away, key=away.get) == place
            assert true_statements(scene) == [
                Statement("place", OWL, value=place),
                Statement("extent", OWL, value=size),
            ]
    assert min(areas["big"]) > 3 * max(areas["small"])


@pytest.mark.parametrize("relation", RELATIONS)
def test_the_main_statement_is_false_of_the_twin(relation):
    rng = np.random.default_rng(5)
    for first, second in ((DOG, OWL), (OWL, DOG)):
        scene, twin = twins(relation, first, second, rng)
        assert main_statement(scene) == Statement(relation, first, second)
        assert main_statement(twin) == Statement(relation, second, first)
        assert main_statement(scene) not in true_statements(twin)
        assert Statement("both", DOG, OWL) in true_statements(scene)


def test_statements_beside_the_main_one_are_not_missed():
    """Of big and small, and of two of one, it is true as well who is left of or above whom."""
    rng = np.random.default_rng(6)
    for relation in ("size", "count"):
        for _ in range(10):
            scene, _ = twins(relation, DOG, OWL, rng)
            dog, owl = (
                np.mean([(o.x, o.y) for o in scene.objects if o.picture == p], axis=0)
                for p in (DOG, OWL)
            )
            axis = int(np.argmax(np.abs(owl - dog)))
            kind = ("left", "above")[axis]
            order = (DOG, OWL) if owl[axis] > dog[axis] else (OWL, DOG)
            directions = [s for s in true_statements(scene) if s.kind in ("left", "above")]
            assert directions == [Statement(kind, *order)]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (
            Statement("left", DOG, OWL),
            [
                "a dog left of an owl",
                "an owl right of a dog",
                "一只狗在一只猫头鹰的左边",
                "一只猫头鹰在一只狗的右边",
            ],
        ),
        (
            Statement("above", OWL, DOG),
            [
                "an owl above a dog",
                "a dog below an owl",
                "一只猫头鹰在一只狗的上面",
                "一只狗在一只猫头鹰的下面",
            ],
        ),
        (
            Statement("size", OWL, DOG),
            [
                "a big owl and a small dog",
                "a small dog and a big owl",
                "一只大猫头鹰和一只小狗",
                "一只小狗和一只大猫头鹰",
            ],
        ),
        (
            Statement("count", DOG, OWL),
            [
                "two dogs and an owl",
                "an owl and two dogs",
                "两只狗和一只猫头鹰",
                "一只猫头鹰和两只狗",
            ],
        ),
        (
            Statement("both", DOG, OWL),
            [
                "a dog and an owl",
                "an owl and a dog",
                "一只狗和一只猫头鹰",
                "一只猫头鹰和一只狗",
            ],
        ),
        (
            Statement("place", OWL, value="top"),
            ["only an owl, at the top", "只有一只猫头鹰，在上面"],
        ),
        (Statement("extent", OWL, value="big"), ["only a big owl", "只有一只大猫头鹰"]),
    ],
)
def test_sentences(statement, expected):
    said = sentences(statement, POOL)
    assert [text for text, _ in said] == expected
    languages = [language for _, language in said]
    assert languages == ["en"] * (len(said) // 2) + ["zh"] * (len(said) // 2)
