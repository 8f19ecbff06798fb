"""How names and values of another program become variables of the towers here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

Tower = Literal["image", "text"]

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
        parts: how many there are.
        join: parts are put side by side on the last axis, or added.
    """

    pattern: str
    target: str
    convert: Callable[[np.ndarray], np.ndarray] = keep
    part: int = 0
    parts: int = 1
    join: Literal["concatenate", "add"] = "concatenate"

    @cached_property
    def regex(self) -> re.Pattern[str]:
        """The compiled pattern."""
        return re.compile(self.pattern)


@dataclass(frozen=True)
class Refusal:
    """Tensors that show a tower which cannot be represented here, and why."""

    pattern: str
    tower: Tower
    reason: str


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


@dataclass
class MatchedTensors:
    """The tensors that make up one variable, by part."""

    rule: Rule
    names: dict[int, str]

    @property
    def complete(self) -> bool:
        """Whether every part is there."""
        return len(self.names) == self.rule.parts

    def value(self, read: Callable[[str], np.ndarray], rules: Mapping[str, Rule]) -> np.ndarray:
        """Convert and join; ``rules`` gives each name's own rule."""
        parts = [
            rules[self.names[part]].convert(read(self.names[part]))
            for part in range(self.rule.parts)
        ]
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
        rules: by tensor name.
        unmatched: names that no rule knows.
    """

    sources: dict[str, MatchedTensors]
    rules: dict[str, Rule]
    unmatched: list[str]

    def shapes(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """Shape of every complete variable, computed without reading a value."""

        def empty(name: str) -> np.ndarray:
            return np.broadcast_to(np.float32(0), shapes[name])

        return {
            path: source.value(empty, self.rules).shape
            for path, source in self.sources.items()
            if source.complete
        }


def match_names(layout: WeightLayout, names: Sequence[str]) -> Match:
    """Apply a layout's rules to the names of a file, wrappers' prefixes aside."""
    match = Match({}, {}, [])
    for name in names:
        bare = _WRAPPERS.sub("", name)
        if any(re.fullmatch(pattern, bare) for pattern in layout.ignored):
            continue
        for rule in layout.rules:
            if found := rule.regex.fullmatch(bare):
                target = found.expand(rule.target)
                source = match.sources.setdefault(target, MatchedTensors(rule, {}))
                source.names[rule.part] = name
                match.rules[name] = rule
                break
        else:
            match.unmatched.append(name)
    return match


def refused(layout: WeightLayout, names: Sequence[str]) -> dict[Tower, tuple[str, str]]:
    """By tower that cannot be represented: the first name that shows it, and the reason."""
    found: dict[Tower, tuple[str, str]] = {}
    for name in names:
        for refusal in layout.refusals:
            if refusal.tower not in found and re.fullmatch(
                refusal.pattern, _WRAPPERS.sub("", name)
            ):
                found[refusal.tower] = (name, refusal.reason)
    return found
