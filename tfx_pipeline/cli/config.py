"""`vlsearch config`: an experiment with its base, its overrides and all defaults."""

from __future__ import annotations

import sys
from typing import Annotated

from tfx_pipeline.cli.places import ConfigArgument, override_option


def config(
    file: ConfigArgument,
    overrides: Annotated[list[str] | None, override_option("train.steps=100")] = None,
) -> None:
    """Check an experiment and print the whole of it as YAML: base, overrides, defaults."""
    from tfx_pipeline.config import ExperimentConfig
    from vl_models.terminal import visible

    text = ExperimentConfig.load(file, overrides or ()).to_yaml()
    # In a file it stays the YAML that it is.
    print(visible(text) if sys.stdout.isatty() else text, end="", flush=True)
