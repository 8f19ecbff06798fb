"""Compiles the pipeline for Kubeflow Pipelines v2: one YAML file, the same graph."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format
from kfp.compiler import compiler_utils
from kfp.kubernetes import kubernetes_executor_config_pb2
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.orchestration.data_types import RuntimeParameter
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import (
    KubeflowV2DagRunner,
    KubeflowV2DagRunnerConfig,
)
from tfx.orchestration.pipeline import Pipeline

from serving.files import write_atomically
from serving.kubernetes_names import label
from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.kubeflow_config import DEFAULT, KubeflowConfig, StepResources
from tfx_pipeline.pipeline import RunValues, build_components
from tfx_pipeline.runners.kubeflow_spec import (
    ENTRYPOINT,
    GPU_VARIABLE,
    VERSION_VARIABLE,
    own_version,
)
from tfx_pipeline.storage.uris import is_uri
from tfx_pipeline.submission import Submission, submit
from vl_models.errors import UserError

_NAME = "vlsearch"

# What each parameter is, for the pages where people start runs.
PARAMETERS = {
    "run_name": "a name for the lineage of the release",
    "data": "data folder, a path on the volume or a URI",
    "resolved": "what the data folder held at submission; filled in by `vlsearch kubeflow submit`",
    "steps": "training steps; 0: as the experiment says",
    "thresholds": 'rules for a release, JSON such as {"recall@10": {"min": 0.4}}; "": as the '
    "experiment says",
    "version": "of the release; 0: the next one",
    "baseline": 'metrics to compare with, JSON; "": none; current: those of the current release',
    "lineage": "what the run is made of, JSON",
}


def on_volume(config: ExperimentConfig) -> tuple[ExperimentConfig, bool]:
    """The experiment with paths as the steps see them, and whether this process sees them too.

    Relative paths lie on the volume; without a volume paths are those of this machine.
    """
    volume = config.kubeflow.volume
    if volume is None:
        return config, True
    mount = Path(volume.mount)
    values = config.model_dump(mode="json")
    train = values["train"]
    named = [
        (values, "output"),
        (values["data"], "folder"),
        (values["data"], "schema_file"),
        (values["vocabulary"], "pretrained"),
        (values["features"], "towers"),
        *((stage["warm_start"], "source") for stage in (train, *train["stages"])),
    ]
    for section, key in named:
        if section is not None and section[key] is not None and not is_uri(section[key]):
            section[key] = str(mount / section[key])
    return ExperimentConfig.from_dict(values, "kubeflow.volume"), mount.is_dir()


def compile_pipeline(config: ExperimentConfig, path: Path, index_only: bool = False) -> Submission:
    """Compile an experiment to a spec that Kubeflow Pipelines v2 runs.

    Args:
        config: the experiment; its section `kubeflow` says with what the steps run.
        path: of the YAML file; complete or not there at all.
        index_only: a pipeline that builds another index of the current release's towers.

    Returns:
        The submission that the spec's default parameters stand for.

    Raises:
        UserError: the experiment cannot be a pipeline, or names resources of unknown steps.
    """
    config, seen = on_volume(config)
    submission = submit(config, seen=seen, index_only=index_only)
    defaults = RunValues.of(submission)
    parameters = {
        field.name: RuntimeParameter(field.name, type(getattr(defaults, field.name)))
        for field in dataclasses.fields(RunValues)
    }
    components = build_components(submission, RunValues(**parameters))
    trained = build_components(dataclasses.replace(submission, towers=""))
    pipeline = Pipeline(
        pipeline_name=pipeline_name(config),
        pipeline_root="",  # the cluster's own; `submit` may name another
        components=list(components),
        enable_cache=config.kubeflow.cache,
        beam_pipeline_args=list(submission.beam_args),
    )
    runner = KubeflowV2DagRunner(
        KubeflowV2DagRunnerConfig(
            default_image=_NAME, default_commands=list(ENTRYPOINT), use_pipeline_spec_2_1=True
        )
    )
    spec = runner.run(pipeline, write_out=False)["pipelineSpec"]
    steps = [component.id for component in components]
    known = {*steps, *(component.id for component in trained)}
    platform = _finish(spec, steps, known, config.kubeflow, defaults)
    _write(path, config, [spec, platform])
    return submission


def pipeline_name(config: ExperimentConfig) -> str:
    """Return the pipeline's name on the cluster, of which names of pods and labels are made."""
    return label(f"{_NAME}-{config.name}")


def step_id(step: str) -> str:
    """Return a step's name as Kubeflow writes names: ClickExampleGen → click-example-gen."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", step).lower()


def _finish(
    spec: dict[str, Any],
    steps: Sequence[str],
    known: Collection[str],
    config: KubeflowConfig,
    defaults: RunValues,
) -> dict[str, Any]:
    """Complete TFX's spec in place: names, defaults, resources, retries, version.

    Returns:
        The platform spec, which holds what only Kubernetes knows: node labels and volume.
    """
    unknown = sorted(set(config.resources) - {DEFAULT, *known})
    if unknown:
        raise UserError(
            f"kubeflow.resources: this pipeline has no step {', '.join(unknown)}. "
            f"Steps: {', '.join(steps)}."
        )
    _rename(spec)
    for name, definition in spec["root"]["inputDefinitions"]["parameters"].items():
        definition["defaultValue"] = getattr(defaults, name)
        definition["isOptional"] = True
        definition["description"] = PARAMETERS[name]
    version = own_version()
    executors = {}
    for step in steps:
        task = spec["root"]["dag"]["tasks"][step_id(step)]
        if config.retries.count:
            task["retryPolicy"] = {
                "maxRetryCount": config.retries.count,
                "backoffDuration": f"{config.retries.wait_s}s",
                "backoffFactor": 2.0,
            }
        label = f"exec-{step_id(step)}"
        container = spec["deploymentSpec"]["executors"][label]["container"]
        wanted = config.resources.get(step, config.resources.get(DEFAULT, StepResources()))
        container["image"] = (
            config.gpu_image or f"{_NAME}:{version}-gpu"
            if wanted.gpu
            else config.image or f"{_NAME}:{version}"
        )
        container["resources"] = _resources(wanted)
        container["env"] = [{"name": VERSION_VARIABLE, "value": version}]
        if wanted.gpu:
            container["env"].append({"name": GPU_VARIABLE, "value": str(wanted.gpu)})
        executors[label] = _platform(wanted, config)
    check = pipeline_spec_pb2.PipelineSpec()
    json_format.ParseDict(spec, check)  # a misspelt field is found here, not by the cluster
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}


def _rename(spec: dict[str, Any]) -> None:
    """Names as Kubeflow's own compiler makes them; its tools cut prefixes off such names."""
    components = spec.pop("components")
    spec["components"] = {}
    executors = spec["deploymentSpec"].pop("executors")
    spec["deploymentSpec"]["executors"] = {}
    tasks = spec["root"]["dag"].pop("tasks")
    spec["root"]["dag"]["tasks"] = {}
    for step, component in components.items():
        name = step_id(step)
        executor = executors[component["executorLabel"]]
        component["executorLabel"] = f"exec-{name}"
        spec["components"][f"comp-{name}"] = component
        spec["deploymentSpec"]["executors"][f"exec-{name}"] = executor
        task = tasks[step]
        task["componentRef"]["name"] = f"comp-{name}"
        task["taskInfo"]["name"] = name
        if "dependentTasks" in task:
            task["dependentTasks"] = [step_id(other) for other in task["dependentTasks"]]
        for artifact in task.get("inputs", {}).get("artifacts", {}).values():
            producer = artifact["taskOutputArtifact"]
            producer["producerTask"] = step_id(producer["producerTask"])
        spec["root"]["dag"]["tasks"][name] = task


def _resources(wanted: StepResources) -> dict[str, Any]:
    """Each quantity twice: as text, and as the number that older clusters read."""
    cpu = compiler_utils._cpu_to_float(wanted.cpu)
    memory = compiler_utils._memory_to_float(wanted.memory)
    found: dict[str, Any] = {
        "cpuRequest": cpu,
        "cpuLimit": cpu,
        "memoryRequest": memory,
        "memoryLimit": memory,
        "resourceCpuRequest": wanted.cpu,
        "resourceCpuLimit": wanted.cpu,
        "resourceMemoryRequest": wanted.memory,
        "resourceMemoryLimit": wanted.memory,
    }
    if wanted.gpu:
        found["accelerator"] = {
            "type": wanted.gpu_type,
            "count": str(wanted.gpu),
            "resourceType": wanted.gpu_type,
            "resourceCount": str(wanted.gpu),
        }
    return found


def _platform(wanted: StepResources, config: KubeflowConfig) -> dict[str, Any]:
    """Return what Kubernetes is told of one step."""
    values: dict[str, Any] = {}
    if wanted.node_selector:
        values["nodeSelector"] = {"labels": dict(wanted.node_selector)}
    if config.volume is not None:
        mount = {"constant": config.volume.claim, "mountPath": config.volume.mount}
        values["pvcMount"] = [
            {
                **mount,
                "pvcNameParameter": {"runtimeValue": {"constant": config.volume.claim}},
            }
        ]
    message = kubernetes_executor_config_pb2.KubernetesExecutorConfig()
    json_format.ParseDict(values, message)
    return values


def _write(path: Path, config: ExperimentConfig, documents: list[dict[str, Any]]) -> None:
    about = [
        f"# The pipeline of experiment {config.name}, compiled by {_NAME} "
        f"{own_version()} (vlsearch kubeflow compile). Parameters:",
        *(f"#   {name}: {text}" for name, text in PARAMETERS.items()),
    ]
    text = "\n".join(about) + "\n" + yaml.safe_dump_all(documents, sort_keys=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text)
