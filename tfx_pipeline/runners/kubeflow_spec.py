"""What a compiled spec and the container of its steps agree on; reads specs."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from vl_models.errors import UserError

ENTRYPOINT = ("python3", "-m", "tfx_pipeline.runners.kubeflow_step")
VERSION_VARIABLE = "VLSEARCH_SPEC_VERSION"  # environment: what compiled the spec
GPU_VARIABLE = "VLSEARCH_NEEDS_GPU"  # environment: how many the step asks for
INVOCATION = "--json_serialized_invocation_args"  # before Kubeflow's account of inputs and outputs


def own_version() -> str:
    """Return the version of vlsearch that this is; spec and image must be of the same."""
    return metadata.version("vlsearch")


def read_spec(path: Path) -> dict[str, Any]:
    """Return the pipeline spec of a compiled file.

    Raises:
        UserError: the file is not there, or is none of ours, or of another version of vlsearch.
    """
    remedy = "Compile it: vlsearch kubeflow compile --config FILE --output pipeline.yaml."
    try:
        [spec, *_] = yaml.safe_load_all(path.read_text(encoding="utf-8"))
        executors = spec["deploymentSpec"]["executors"].values()
        found = {
            variable["value"]
            for executor in executors
            for variable in executor["container"].get("env", ())
            if variable["name"] == VERSION_VARIABLE
        }
    except FileNotFoundError:
        raise UserError(f"{path}: no such file. {remedy}") from None
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError):
        raise UserError(f"{path}: not a pipeline spec. {remedy}") from None
    version = own_version()
    if found != {version}:
        by = f"vlsearch {', '.join(sorted(found))}" if found else "something else"
        raise UserError(
            f"{path}: compiled by {by}, and this is vlsearch {version}: steps and parameters may "
            f"differ. {remedy}"
        )
    return spec


def parameters(spec: Mapping[str, Any], path: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Values of all parameters of a spec: the defaults, and those given.

    Raises:
        UserError: the spec has no such parameter.
    """
    known = spec["root"]["inputDefinitions"]["parameters"]
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise UserError(
            f"{path}: the spec has no parameter {', '.join(unknown)}. "
            f"Parameters: {', '.join(known)}."
        )
    return {name: definition["defaultValue"] for name, definition in known.items()} | dict(given)
