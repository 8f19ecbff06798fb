"""How names and values of another program become variables of the towers here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

# A tower of a dual encoder, or the one model of a fusion system.
Tower = Literal["image", "text", "model"]
Shapes = Mapping[str, tuple[int, ...]]

# What wrappers of training programs put before every name.
_WRAPPERS = re.compile(r"^(?:module\.|_orig_mod\.)+")


def keep(values: np.ndarray) -> np.ndarray:
    """Return the values as they are."""
    return values


def transpose(values: np.ndarray) -> np.ndarray:
    """Return a linear layer's weight [out, in] as a kernel [in, out]."""
    return values.T


def patches(values: np.ndarray) -> np.ndarray:
    """A convolution [W, C, P, P] over patches as a matrix [P · P · C, W], rows in image order."""
    return values.transpose(2, 3, 1, 0).reshape(-1, values.shape[0])


def first_row(values: np.ndarray) -> np.ndarray:
    """Return the vector [W] of type 0 of a table [types, W]."""
    return values[0]


def vector(values: np.ndarray) -> np.ndarray:
    """Return a vector [1, …, W] as [W]."""
    return values.reshape(-1)


def first_position(values: np.ndarray) -> np.ndarray:
    """Return the class token's position [W] of positions [1, 1 + N, W]."""
    return values[0, 0]


def other_positions(values: np.ndarray) -> np.ndarray:
    """Return the patches' positions [N, W] of positions [1, 1 + N, W]."""
    return values[0, 1:]


def three_types(values: np.ndarray) -> np.ndarray:
    """Return a table [types, W] of text, image and second image, which starts as the first."""
    return values if len(values) > 2 else values[[0, 1, 1]]


def scalar(values: np.ndarray) -> np.ndarray:
    """One number, with or without an axis."""
    return values.reshape(())


@dataclass(frozen=True)
class Rule:
    """Tensors whose whole name matches ``pattern`` are a value, or a part of one.

    Attributes:
        pattern: regular expression.
        target: variable path, with the pattern's groups as in `re.sub`.
        convert: brings a tensor into the variable's form.
        part: which part of the value, from 0.
        parts: how many there are; None for as many as the file has, of which the pattern's first
            group tells the number (a tensor of every block).
        join: parts are put side by side on the last axis, or added.
    """

    pattern: str
    target: str
    convert: Callable[[np.ndarray], np.ndarray] = keep
    part: int = 0
    parts: int | None = 1
    join: Literal["concatenate", "add"] = "concatenate"

    @cached_property
    def regex(self) -> re.Pattern[str]:
        """The compiled pattern."""
        return re.compile(self.pattern)


@dataclass(frozen=True)
class Refusal:
    """Tensors that show a tower which cannot be represented here, and why.

    Attributes:
        pattern: of the name of a tensor.
        tower: the one that cannot be represented.
        reason: what it is, as the end of "The file is …".
        beside: of the name of another tensor, without which the first shows nothing; "" for none.
    """

    pattern: str
    tower: Tower
    reason: str
    beside: str = ""


@dataclass(frozen=True)
class Demand:
    """A variable that the model must have where the file has its value.

    Without it the model would compute something else with the other values.

    Attributes:
        path: of the variable.
        remedy: what to set.
    """

    path: str
    remedy: str


@dataclass(frozen=True)
class WeightLayout:
    """The names of one program's checkpoints.

    Attributes:
        name: as `--layout` takes it.
        sign: regular expression; a file is of this layout if one of its names matches.
        rules: of tensors that have a place here.
        ignored: patterns of buffers that hold nothing learned.
        refusals: of towers that have no counterpart.
        kinds: the ``kind`` that each tower's configuration must have.
        facts: what the published models of this layout share and no tensor tells: settings by
            tower, given the folder of the file (which may hold a configuration).
        configuration: name of that configuration; "" if there is none.
        caveat: where the facts do not hold without it, as the end of a sentence; "" if always.
        systems: whose variables the rules name; any dual encoder if empty.
        required: patterns of variables that need a value.
        demands: variables that some models of the systems lack, and that a file's model needs.
        token_embedding: path of the token embeddings; "" without texts.
        text_positions: path of the texts' positions, of which shorter texts take the first.
        image_positions: path of the positions of a grid.
        bias_table: path of biases of images by relative position.
        zeros: patterns of variables that are zero where the file has no value: it has nothing of
            the kind, and so adds nothing.
        sections: makes the experiment's sections of the variables' shapes and the file's folder;
            None for dual encoders.
    """

    name: str
    sign: str
    rules: tuple[Rule, ...]
    ignored: tuple[str, ...]
    refusals: tuple[Refusal, ...]
    kinds: Mapping[Tower, str]
    facts: Callable[[Path], dict[Tower, dict[str, Any]]]
    configuration: str = ""
    caveat: str = ""
    systems: tuple[str, ...] = ()
    required: tuple[str, ...] = (
        "image_encoder/*",
        "image_projection/*",
        "text_encoder/*",
        "text_projection/*",
    )
    demands: tuple[Demand, ...] = ()
    token_embedding: str = "text_encoder/token_embedding"
    text_positions: str = "text_encoder/positions"
    image_positions: str = "image_encoder/patch_embedding/positions"
    bias_table: str = ""
    zeros: tuple[str, ...] = ()
    sections: Callable[[Shapes, Path], dict[str, Any]] | None = None


@dataclass
class MatchedTensors:
    """The tensors that make up one variable, and the rule of each, by part."""

    names: dict[int, str]
    rules: dict[int, Rule]

    @property
    def rule(self) -> Rule:
        """One of the rules; they agree about parts and join."""
        return next(iter(self.rules.values()))

    @property
    def parts(self) -> int:
        """Return how many parts make the value."""
        return max(self.names) + 1 if self.rule.parts is None else self.rule.parts

    @property
    def complete(self) -> bool:
        """Whether every part is there."""
        return len(self.names) == self.parts

    def value(self, read: Callable[[str], np.ndarray]) -> np.ndarray:
        """Convert and join."""
        parts = [self.rules[part].convert(read(self.names[part])) for part in range(self.parts)]
        if len(parts) == 1:
            return parts[0]
        if self.rule.join == "concatenate":
            return np.concatenate(parts, axis=-1)
        return np.asarray(np.sum(np.broadcast_arrays(*parts), axis=0, dtype=np.float32))


@dataclass
class Match:
    """What a layout makes of the names of a file.

    Attributes:
        sources: by variable path.
        unmatched: names that no rule knows.
    """

    sources: dict[str, MatchedTensors]
    unmatched: list[str]

    def shapes(self, shapes: Shapes) -> dict[str, tuple[int, ...]]:
        """Shape of every complete variable, computed without reading a value."""

        def empty(name: str) -> np.ndarray:
            return np.broadcast_to(np.float32(0), shapes[name])

        return {
            path: source.value(empty).shape
            for path, source in self.sources.items()
            if source.complete
        }


def match_names(layout: WeightLayout, names: Sequence[str]) -> Match:
    """Apply a layout's rules to the names of a file, wrappers' prefixes aside.

    A tensor that several rules match, such as a table whose rows are apart here, goes to each.
    """
    match = Match({}, [])
    for name in names:
        bare = _WRAPPERS.sub("", name)
        if any(re.fullmatch(pattern, bare) for pattern in layout.ignored):
            continue
        matched = False
        for rule in layout.rules:
            if found := rule.regex.fullmatch(bare):
                source = match.sources.setdefault(found.expand(rule.target), MatchedTensors({}, {}))
                part = int(found[1]) if rule.parts is None else rule.part
                source.names[part] = name
                source.rules[part] = rule
                matched = True
        if not matched:
            match.unmatched.append(name)
    return match


def refused(layout: WeightLayout, names: Sequence[str]) -> dict[Tower, tuple[str, str]]:
    """By tower that cannot be represented: the first name that shows it, and the reason."""
    bare = {name: _WRAPPERS.sub("", name) for name in names}
    refusals = [
        refusal
        for refusal in layout.refusals
        if not refusal.beside or any(re.fullmatch(refusal.beside, own) for own in bare.values())
    ]
    found: dict[Tower, tuple[str, str]] = {}
    for name, own in bare.items():
        for refusal in refusals:
            if refusal.tower not in found and re.fullmatch(refusal.pattern, own):
                found[refusal.tower] = (name, refusal.reason)
    return found


def blocks(paths: Iterable[str], stack: str) -> int:
    """Return the number of blocks ``{stack}_0``, ``{stack}_1``, … among variable paths."""
    pattern = re.compile(rf"{stack}_(\d+)/")
    found = [int(match[1]) for path in paths if (match := pattern.match(path))]
    return max(found, default=-1) + 1


def tower_blocks(tower: Tower) -> str:
    """Return what the transformer blocks of a tower are called, for `blocks`."""
    return "encoder/block" if tower == "model" else f"{tower}_encoder/block"
