"""What a release.json can turn into, made of a good one, by name."""

import json
from collections.abc import Callable

GOOD = {"version": 1, "models": {"text_tower": 1, "image_tower": 1}, "index": 1, "previous": None}


def _with(**changes) -> bytes:
    return json.dumps(GOOD | changes).encode()


CONTENTS: dict[str, bytes] = {
    "empty": b"",
    "half": json.dumps(GOOD).encode()[:40],
    "list": b"[]",
    "null": b"null",
    "number": b"1",
    "nesting": b"[" * 100_000,
    "no index": json.dumps({k: v for k, v in GOOD.items() if k != "index"}).encode(),
    "binary": bytes(range(256)),
    "UTF-16": json.dumps(GOOD).encode("utf-16"),
    "UTF-8 with a mark": json.dumps(GOOD).encode("utf-8-sig"),
    "Latin 1": _with(created="é").replace(b"\\u00e9", b"\xe9"),
    "repeated key": json.dumps(GOOD).encode()[:-1] + b', "version": 1}',
    "version NaN": _with(version=float("nan")),
    "metric NaN": _with(metrics={"mrr": float("nan")}),
    "metric infinite": _with(metrics={"mrr": float("inf")}),
    "metric that is read as infinite": _with(metrics={"mrr": 7}).replace(b"7", b"1e999"),
    "folder with a name that is too long": _with(models={"a" * 300: 1}),
    "many digits": _with(version=7).replace(b"7", b"7" * 5000),
    **{
        f"{key} {value!r}": _with(**{key: value})
        for key, values in {
            "version": (None, True, "1", 1.0, -1, 0, 2**63, [1]),
            "models": (
                *(None, [], ["text_tower"], {"text_tower": "1"}, {"text_tower": True}),
                *({"text_tower": -1}, {"text_tower": 1.5}, {"text_tower": None}, {}),
                *({"../text_tower": 1}, {"a/b": 1}, {"..": 1}, {"": 1}, {"index": 1}, {"a\0": 1}),
            ),
            "index": ("1", True, 1.0, -1, 0, {}, "../1"),
            "previous": (1, 2, "0", False, -1, [0]),
            "weights": ("1", True, 0),
            "metrics": (None, [], {"mrr": "high"}, {"mrr": True}),
            "lineage": (None, [], "run"),
            "data_span": ("2026", 3),
            "created": (None, 5),
            "checksums": (
                *([], {"index": []}, {"index": {"index.json": "0"}}, {"index": {"index.json": 1}}),
                *({"index": {"../f": "0" * 64}}, {"index": {"/f": "0" * 64}}),
            ),
        }.items()
        for value in values
    },
}

# (path of release.json) -> nothing: something else than a file in its place.
PLACES: dict[str, Callable] = {
    "missing": lambda path: path.unlink(),
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "link to nothing": lambda path: (path.unlink(), path.symlink_to("nowhere")),
    "link to itself": lambda path: (path.unlink(), path.symlink_to(path)),
}
