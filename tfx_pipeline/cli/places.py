"""Options that name a place: which of them may be a URI, and what is looked at before all else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from tfx_pipeline.experiment_file import read_experiment
from tfx_pipeline.storage.uris import check_local, check_weights_place, is_uri, may_hold_weights


def _is_an_experiment(path: Path) -> Path:
    """Callback: a file that cannot be read is said at once, not after TensorFlow's import.

    Raises:
        UserError: it is missing, or not YAML.
    """
    read_experiment(path)
    return path


_named_to_write: list[str] = []

ConfigOption = Annotated[
    Path,
    typer.Option("--config", "-c", help="Experiment, a YAML file.", callback=_is_an_experiment),
]
ConfigArgument = Annotated[
    Path,
    typer.Argument(help="Experiment, a YAML file.", metavar="FILE", callback=_is_an_experiment),
]
_RELEASE_ROOT = "Release root, the folder with release.json: a path, s3:// or gs://."
RootArgument = Annotated[str, typer.Argument(help=_RELEASE_ROOT)]
ReleaseOption = Annotated[str, typer.Option(metavar="ROOT", help=_RELEASE_ROOT)]
ServerOption = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="A running model server; without it one is started."),
]
DataOption = Annotated[
    str | None, typer.Option(help="Data folder (data.folder): a path, s3:// or gs://.")
]
BeamOption = Annotated[
    Path | None,
    typer.Option(help="Beam options, e.g. configs/beam/flink.yaml (beam_pipeline_args)."),
]


def override_option(example: str) -> Any:
    """Return the option `--set`, which is told with an example."""
    return typer.Option("--set", metavar="KEY=VALUE", help=f"Override, e.g. {example}.")


def on_disk(option: typer.CallbackParam, value: Path | None) -> Path | None:
    """Callback of what names a folder to write: a URI is an error, and makes no folder `s3:`.

    Raises:
        UserError: the value was a URI.
    """
    if value is not None:
        name = option.opts[-1]
        name = name if name.startswith("-") else name.upper()
        check_local(value, f"{name} names a folder there.")
        _named_to_write.append(str(value))
    return value


def named_to_write() -> str | None:
    """Return the folder that this command was told to write, for errors that name no file."""
    return _named_to_write[-1] if _named_to_write else None


def for_weights(option: typer.CallbackParam, value: Path | None) -> Path | None:
    """Callback of what names a folder with towers in it, see `on_disk`.

    Raises:
        UserError: the value was a URI, or TensorFlow would take it for a pattern, the path from
            the working folder, too.
    """
    on_disk(option, value)
    if value is None or may_hold_weights(value):
        return value
    nearby = Path(os.path.relpath(value))
    check_weights_place(nearby)
    return nearby


def release_root(place: str) -> Path:
    """Return a release root on the local disk: the one named, or a copy of a bucket's.

    Raises:
        UserError: the bucket has no release, or cannot be read.
    """
    if not is_uri(place):
        from serving.release import root_path

        return root_path(place)
    from tfx_pipeline.storage.releases import stage_to_cache

    return stage_to_cache(place)[0]
