"""What a step's container on Kubeflow Pipelines runs: TFX's entrypoint with what it lacks there.

Kubeflow v2 forgets the types of artifacts (all become `system.Artifact`) and knows them by the
URIs of its object store, beside which its launcher keeps local copies. Here the types come back
from the step's own specification, the executor works on the local copies, and what it reports
has the store's URIs again.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serving.loopback import bypass_proxies
from tfx_pipeline.runners.kubeflow_spec import (
    GPU_VARIABLE,
    INVOCATION,
    VERSION_VARIABLE,
    own_version,
)
from vl_models.errors import Interrupted, UserError
from vl_models.terminal import echo

# Where Kubeflow's launcher puts copies of what is in an object store.
_LOCAL_COPIES = {"gs://": "/gcs/", "s3://": "/s3/", "minio://": "/minio/"}
_INPUTS_SPEC = "--json_serialized_inputs_spec_args"


def main(arguments: Sequence[str]) -> int:
    """Run one step; wrong input is one line and exit code 2.

    Args:
        arguments: as the compiled spec has them, Kubeflow's placeholders filled in.

    Returns:
        The exit code: 0 done, 1 something unexpected, 2 wrong input.
    """
    bypass_proxies()
    try:
        check_version(os.environ.get(VERSION_VARIABLE))
        check_gpus(int(os.environ.get(GPU_VARIABLE, "0")))
        run_step(arguments)
    except (UserError, Interrupted) as error:
        echo(f"Error: {error}", stderr=True)
        return 2
    return 0


def check_version(compiled_by: str | None) -> None:
    """Refuse a spec of another version of vlsearch than the image's.

    Raises:
        UserError: names both.
    """
    version = own_version()
    if compiled_by not in (None, version):
        raise UserError(
            f"The spec was compiled by vlsearch {compiled_by}, and this image holds {version}. "
            f"Compile it anew with {version}, or set kubeflow.image to an image of {compiled_by}."
        )


def check_gpus(needed: int) -> None:
    """Refuse to train for days on a CPU because a driver or a device plugin is missing.

    Raises:
        UserError: TensorFlow sees fewer GPUs than the step asks for.
    """
    if not needed:
        return
    import tensorflow as tf

    found = len(tf.config.list_physical_devices("GPU"))
    if found < needed:
        raise UserError(
            f"This step asks for {needed} GPU (kubeflow.resources), and TensorFlow sees {found}. "
            "Is the image the GPU variant (kubeflow.gpu_image), and does the node have NVIDIA's "
            "driver and device plugin? To run on CPUs set the step's gpu to 0."
        )


def run_step(arguments: Sequence[str]) -> None:
    """Run TFX's entrypoint on the arguments, completed."""
    from tfx.orchestration.kubeflow.v2 import compiler_utils
    from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor

    from tfx_pipeline.components import artifacts

    for kind in artifacts.TYPES:
        path = f"{artifacts.__name__}.{kind.__name__}"
        compiler_utils.TITLE_TO_CLASS_PATH[kind.TYPE_NAME] = path
    completed = list(arguments)
    at = completed.index(INVOCATION) + 1
    invocation = json.loads(completed[at])
    spec = json.loads(completed[completed.index(_INPUTS_SPEC) + 1])
    uris = complete(invocation, spec.get("artifacts", {}))
    completed[at] = json.dumps(invocation)
    kubeflow_v2_run_executor.main(kubeflow_v2_run_executor._parse_flags(["step", *completed][1:]))
    report = Path(invocation["outputs"]["outputFile"])
    report.write_text(with_uris(report.read_text(encoding="utf-8"), uris), encoding="utf-8")


def complete(invocation: dict[str, Any], inputs: dict[str, Any]) -> dict[str, str]:
    """Give artifacts their types and local paths, in place; make the folders of outputs.

    Args:
        invocation: Kubeflow's `ExecutorInput` as JSON.
        inputs: the step's input artifacts by name, with their types.

    Returns:
        The URI of each local path of an output.
    """
    for name, held in invocation.get("inputs", {}).get("artifacts", {}).items():
        for artifact in held.get("artifacts", []):
            if name in inputs:
                artifact["type"] = inputs[name]["artifactType"]
            artifact["uri"] = local_path(artifact["uri"])
    uris = {}
    for held in invocation["outputs"].get("artifacts", {}).values():
        for artifact in held.get("artifacts", []):
            path = local_path(artifact["uri"])
            uris[path] = artifact["uri"]
            artifact["uri"] = path
            Path(path).mkdir(parents=True, exist_ok=True)
    return uris


def local_path(uri: str) -> str:
    """Where the launcher keeps its copy; a path is its own."""
    for scheme, folder in _LOCAL_COPIES.items():
        if uri.startswith(scheme):
            return folder + uri.removeprefix(scheme)
    return uri


def with_uris(report: str, uris: dict[str, str]) -> str:
    """Return an executor's report (`ExecutorOutput` as JSON) with the store's URIs in it."""
    values = json.loads(report)
    for held in values.get("artifacts", {}).values():
        for artifact in held.get("artifacts", []):
            artifact["uri"] = uris.get(artifact["uri"], artifact["uri"])
    return json.dumps(values)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
