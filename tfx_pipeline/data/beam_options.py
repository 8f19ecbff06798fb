"""Beam arguments: those of one machine, those that are given, and where they come from."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from vl_models.errors import UserError

ENVIRONMENT = "VLSEARCH_BEAM_PIPELINE_ARGS"
_KEY = "beam_pipeline_args"
# Worker processes import it before they load code: TFX's own steps need its stand-in (compat.py).
_IMPORT = "--beam_plugins=tfx_pipeline"


def default_beam_args() -> list[str]:
    """Arguments that run a Beam pipeline on this machine.

    The runner is named outright: `DirectRunner` first looks for the Prism binary, which is
    not in the Beam wheel, and falls back to this very runner. One in-process worker is the
    fastest on small data.
    """
    return [
        "--runner=FnApiRunner",
        "--direct_running_mode=in_memory",
        "--direct_num_workers=1",
        # The runner starts no container; but without an image TFX would build a package of itself
        # before every step, for workers elsewhere to install.
        "--sdk_container_image=none",
        _IMPORT,
    ]


def resolve_beam_args(configured: Sequence[str] | None) -> list[str]:
    """Return the arguments to run with: of the configuration, then of the environment, checked.

    The environment comes last, and of an option given twice Beam takes the last: an experiment
    says what is done, the environment where. So one experiment runs on another cluster by one
    variable, which may change a single option, such as the job endpoint. Without a runner in
    either, the default arguments come first. Workers are told to import the package.

    Args:
        configured: `beam_pipeline_args` of the experiment.

    Raises:
        UserError: an option that Beam does not know, or does not take with this value or runner.
    """
    from tfx_pipeline.data.beam_check import check_beam_args, runner_of

    sources = {_KEY: list(configured or ()), ENVIRONMENT: _of_environment()}
    given = [argument for arguments in sources.values() for argument in arguments]
    if not given:
        return default_beam_args()
    check_beam_args(sources)
    if runner_of(given) is None:
        return [*default_beam_args(), *given]
    return [*given, _IMPORT]


def load_option_set(path: str | Path) -> list[str]:
    """Read a file of Beam arguments, such as those in configs/beam: a YAML list of flags.

    Raises:
        UserError: the file is missing, or holds something else.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file of Beam options. Examples are in configs/beam/."
        ) from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {error}") from None
    wrong = _first_wrong(values)
    if wrong is not None:
        raise UserError(
            f"{path}: a file of Beam options is a list of flags, such as '- --runner=FlinkRunner'; "
            f"one that holds ': ' or ' #' needs quotes. Received: {wrong!r}."
        )
    return list(values)


def _first_wrong(values: Any) -> Any:
    if not isinstance(values, list):
        return type(values).__name__
    return next((value for value in values if not isinstance(value, str)), None)


def _of_environment() -> list[str]:
    text = os.environ.get(ENVIRONMENT, "")
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UserError(
            f"{ENVIRONMENT}: {error}; arguments are quoted as in a shell. Received: {text!r}."
        ) from None
