"""The command line of the model server, in the syntax of TensorFlow's own flags.

The flags are the fields of ServerOptions; how they are written, and what happens to those that are
wrong, is that of tensorflow/core/util/command_line_flags.cc.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from serving.model_server.options import ServerOptions

VERSION = "version"

_logger = logging.getLogger(__name__)

_RANGES = {"int32": 31, "int64": 63}
_INTEGER = re.compile(r"\s*[+-]?[0-9]+")
_NUMBER = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class Flag:
    """One flag: `kind` is bool, int32, int64, float or string."""

    name: str
    kind: str
    default: Any
    usage: str
    extension: bool = False
    from_text: Callable[[str], Any] | None = None

    def matches(self, argument: str) -> bool:
        """Whether the argument sets this flag, well or badly."""
        if self.kind == "bool":
            return argument.startswith(f"--{self.name}")
        return argument.startswith(f"--{self.name}=")

    def value(self, argument: str) -> Any:
        """Return what a matching argument sets.

        Raises:
            ValueError: not a value of this kind.
        """
        text = argument.removeprefix(f"--{self.name}")
        if self.kind == "bool":
            values = {"": True, "=true": True, "=false": False}
            if text not in values:
                raise ValueError(text)
            return values[text]
        text = text[1:]
        if self.kind == "float":
            if not _NUMBER.fullmatch(text):
                raise ValueError(text)
            return float(text)
        if self.kind in _RANGES:
            limit = 2 ** _RANGES[self.kind]
            if not _INTEGER.fullmatch(text) or not -limit <= int(text) < limit:
                raise ValueError(text)
            return int(text)
        return self.from_text(text) if self.from_text else text

    def line(self) -> str:
        """Its line in the usage text."""
        default = self.default
        if self.kind == "bool":
            shown = "true" if default else "false"
        elif self.kind == "float":
            shown = f"{default:f}"
        elif self.kind == "string":
            shown = f'"{default if isinstance(default, str) else ",".join(default)}"'
        else:
            shown = str(default)
        return f"\t{f'--{self.name}={shown}':<33}\t{self.kind}\t{self.usage}\n"


@dataclass(frozen=True)
class Parsed:
    """What a command line said.

    Attributes:
        values: by flag, of those that were given.
        unknown: arguments that are no flag.
        ok: whether all values could be read, and nobody asked for help.
    """

    values: dict[str, Any]
    unknown: list[str]
    ok: bool


class Flags:
    """All flags of the model server; `defaults` are those that differ from ServerOptions."""

    def __init__(self, **defaults: Any):
        options = [
            Flag(
                option.name,
                default=defaults.get(option.name, option.default),
                **{key: value for key, value in option.metadata.items() if key != "ignored"},
            )
            for option in fields(ServerOptions)
        ]
        self.defaults = defaults
        self.flags = [
            *(flag for flag in options if not flag.extension),
            Flag(VERSION, "bool", False, "Print the versions and end."),
            *(flag for flag in options if flag.extension),
        ]

    def usage(self, program: str) -> str:
        """Return the text that lists all flags."""
        known = "".join(flag.line() for flag in self.flags if not flag.extension)
        ours = "".join(flag.line() for flag in self.flags if flag.extension)
        return (
            f"usage: {program}\nFlags:\n{known}"
            f"Extensions, which TensorFlow Serving does not have:\n{ours}"
        )

    def parse(self, arguments: Sequence[str]) -> Parsed:
        """Read the arguments that follow the name of the program; a later one wins."""
        values: dict[str, Any] = {}
        unknown: list[str] = []
        ok = True
        for index, argument in enumerate(arguments):
            if argument == "--":
                unknown += arguments[index:]
                break
            flag = next((flag for flag in self.flags if flag.matches(argument)), None)
            if flag is None:
                unknown.append(argument)
                continue
            try:
                values[flag.name] = flag.value(argument)
            except ValueError as error:
                _logger.error("Couldn't interpret value %s for flag %s.", error, flag.name)
                ok = False
        return Parsed(values, unknown, ok and unknown[:1] != ["--help"])


def to_arguments(options: ServerOptions) -> list[str]:
    """Return the arguments of `tensorflow_model_server` that say the same as `options`.

    Both ports are always said. Extensions are left out: it does not have them.
    """
    arguments = []
    for option in fields(options):
        value = getattr(options, option.name)
        said = option.name in ("port", "rest_api_port") or value != option.default
        if not said or option.metadata["extension"]:
            continue
        if isinstance(value, bool):
            value = str(value).lower()
        elif not isinstance(value, str | int | float):
            value = ",".join(value)
        arguments.append(f"--{option.name}={value}")
    return arguments
