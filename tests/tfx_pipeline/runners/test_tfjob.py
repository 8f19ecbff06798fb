"""The TFJob of a training on several workers: valid, and the one that is kept as an example."""

import copy
import subprocess
import sys
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import typer
import yaml

from tfx_pipeline.cli import main
from tfx_pipeline.runners.tfjob import tfjob
from vl_models.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[3]
PLACES = {
    "image": "registry.example.com/search/vlsearch:0.1.0",
    "config": "configs/emoji.yaml",
    "data": "/shared/emoji/data",
    "output": "/shared/emoji/run",
    "claim": "training",
}
# Of the operator's TFJob (kubeflow.org/v1), from its API reference: the part that is generated, and
# nothing else. Pods are checked with Kubernetes' own schema.
SCHEMA = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "additionalProperties": False,
    "properties": {
        "apiVersion": {"const": "kubeflow.org/v1"},
        "kind": {"const": "TFJob"},
        "metadata": {"type": "object", "required": ["name"]},
        "spec": {
            "type": "object",
            "required": ["runPolicy", "tfReplicaSpecs"],
            "additionalProperties": False,
            "properties": {
                "runPolicy": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "cleanPodPolicy": {"enum": ["All", "Running", "None"]},
                        "activeDeadlineSeconds": {"type": "integer", "minimum": 1},
                    },
                },
                "tfReplicaSpecs": {
                    "type": "object",
                    "required": ["Chief", "Worker"],
                    "additionalProperties": False,
                    "patternProperties": {
                        "^(Chief|Worker)$": {
                            "type": "object",
                            "required": ["replicas", "restartPolicy", "template"],
                            "additionalProperties": False,
                            "properties": {
                                "replicas": {"type": "integer", "minimum": 1},
                                "restartPolicy": {
                                    "enum": ["Always", "OnFailure", "Never", "ExitCode"]
                                },
                                "template": {"type": "object", "required": ["spec"]},
                            },
                        }
                    },
                },
            },
        },
    },
}


def containers(job):
    specs = job["spec"]["tfReplicaSpecs"]
    return {role: spec["template"]["spec"]["containers"][0] for role, spec in specs.items()}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"workers": 3, "gpus": 2, "cpu": "1500m", "memory": "64Gi"},
        {"namespace": "search", "service_account": "trainer", "active_deadline_seconds": 3600},
    ],
)
def test_the_manifest_is_valid(options):
    job = tfjob(**PLACES, **options)
    jsonschema.validate(job, SCHEMA)
    assert job["metadata"].get("namespace") == options.get("namespace")
    for spec in job["spec"]["tfReplicaSpecs"].values():
        pod = {"apiVersion": "v1", "kind": "Pod", **copy.deepcopy(spec["template"])}
        pod["metadata"]["name"] = "pod"
        kubernetes_validate.validate(pod, "1.30", strict=True)


def test_the_operator_finds_what_it_looks_for():
    job = tfjob(**PLACES, workers=2)
    specs = job["spec"]["tfReplicaSpecs"]
    assert {role: spec["replicas"] for role, spec in specs.items()} == {"Chief": 1, "Worker": 2}
    for container in containers(job).values():
        assert container["name"] == "tensorflow"
        assert container["ports"] == [{"name": "tfjob-port", "containerPort": 2222}]
    # What is retried are exit codes from 128 on: 130, and those of SIGKILL and SIGTERM.
    assert {spec["restartPolicy"] for spec in specs.values()} == {"ExitCode"}
    assert job["spec"]["runPolicy"] == {"cleanPodPolicy": "Running"}


def test_all_workers_run_the_same_command_over_the_same_folder():
    job = tfjob(**PLACES, overrides=["train.steps=10", "devices=gpu"])
    chief, worker = containers(job).values()
    assert chief == worker
    assert chief["command"] == [
        *("vlsearch", "train", "--config", "configs/emoji.yaml"),
        *("--data", "/shared/emoji/data", "--output", "/shared/emoji/run"),
        *("--worker-timeout", "300", "--set", "train.steps=10", "--set", "devices=gpu"),
    ]
    [mount] = [m for m in chief["volumeMounts"] if m["name"] == "shared"]
    assert chief["command"][7].startswith(mount["mountPath"])


def test_the_command_is_one_that_vlsearch_takes():
    program, name, *arguments = containers(tfjob(**PLACES, overrides=["train.steps=10"]))["Chief"][
        "command"
    ]
    command = typer.main.get_command(main.app).commands[name]
    given = command.make_context(program, arguments).params
    assert given["config"] == Path("configs/emoji.yaml")
    assert given["data"] == "/shared/emoji/data"
    assert given["run"] == Path("/shared/emoji/run")
    assert given["worker_timeout"] == 300
    assert given["overrides"] == ["train.steps=10"]


def test_the_pods_have_no_rights():
    for spec in tfjob(**PLACES, gpus=1)["spec"]["tfReplicaSpecs"].values():
        pod = spec["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
        [container] = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["nvidia.com/gpu"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "Job"}, "name must be a DNS label of at most 50 .* Received: name='Job'"),
        ({"name": "j" * 51}, "name must be a DNS label of at most 50"),
        ({"claim": "a b"}, "claim must be the name of a PersistentVolumeClaim"),
        ({"cpu": "many"}, "cpu must be cores or thousandths of one.* Received: cpu='many'"),
        ({"memory": "16GB"}, "memory must be bytes with a suffix, such as 16Gi"),
        ({"workers": 0}, "A TFJob needs at least one worker beside the chief.* workers=0"),
        ({"gpus": -1}, "gpus must be 0 or more. Received: gpus=-1"),
        ({"output": "/tmp/run"}, "must be shared by all workers.* Received: output='/tmp/run'"),
        ({"mount_path": "shared"}, "must be shared by all workers.* mount_path='shared'"),
    ],
)
def test_wrong_input_is_named(options, message):
    with pytest.raises(UserError, match=message):
        tfjob(**{**PLACES, **options})


def test_the_example_is_what_is_generated():
    text = (REPOSITORY / "kubeflow/manifests/tfjob.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(text) == tfjob(**PLACES, name="emoji", workers=3)


def test_it_is_made_without_tensorflow():
    code = (
        "import sys, tfx_pipeline.runners.tfjob\n"
        "print([name for name in ('tensorflow', 'tfx', 'keras') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True
    )
    assert result.stdout == "[]\n"
