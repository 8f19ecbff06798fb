import json
import math

import numpy as np
import pytest

from serving.model_server.rest.json_writer import dump, echo

_RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(("bits", "dtype"), [(np.uint32, np.float32), (np.uint64, np.float64)])
@pytest.mark.parametrize("finite", [True, False])
def test_every_float_comes_back(bits, dtype, finite):
    array = _RANDOM.integers(0, np.iinfo(bits).max, 5000, dtype=bits).view(dtype)
    array = (
        array[np.isfinite(array)]
        if finite
        else np.append(array, np.array([np.nan, np.inf, -0.0], dtype))
    )
    np.testing.assert_array_equal(np.array(json.loads(dump(array)), dtype), array.astype(dtype))


@pytest.mark.parametrize(
    "dtype", [np.int8, np.uint8, np.int16, np.int32, np.uint32, np.int64, np.uint64]
)
def test_integers(dtype):
    limits = np.iinfo(dtype)
    assert json.loads(dump(np.array([limits.min, 0, limits.max], dtype))) == [
        int(limits.min),
        0,
        int(limits.max),
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float32([[0.2, 3], [-0.0, 1]]), "[[0.2,3.0],[-0.0,1.0]]"),
        (np.float32(0.2), "0.2"),
        ({"a": np.array([True]), "b": "猫 null"}, '{"a": [true], "b": "猫 null"}'),
        ([np.float32(np.nan), np.float64(np.inf), -np.inf], "[NaN, Infinity, -Infinity]"),
        ({"猫": '\udcff"\n'}, '{"猫": "\udcff\\"\\n"}'),
    ],
)
def test_texts(value, text):
    assert dump(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (-5, "-5"),
        (2**64 - 1, "18446744073709551615"),
        ("é\n", '"é\\n"'),
        (0.1, "0.1"),
        (-math.inf, "-Infinity"),
        ([], "[]"),
        ({}, "{}"),
        ([[], {}], "[\n    [],\n    {}\n]"),
        (
            {"a": [1, "b"], "c": {"d": None}},
            '{\n    "a": [\n        1,\n        "b"\n    ],\n'
            '    "c": {\n        "d": null\n    }\n}',
        ),
    ],
)
def test_layout_of_messages(value, text):
    assert echo(value) == text


@pytest.mark.parametrize("value", ["é" * 1000, list(range(1000)), {"a": "b" * 1000}])
def test_long_values_are_cut(value):
    text = echo(value)
    assert text.endswith("...")
    assert len(text.removesuffix("...").encode()) in (255, 256)


def test_deep_values():
    value = []
    for _ in range(20_000):
        value = [value]
    assert echo(value).startswith("[\n    [\n        [\n")
