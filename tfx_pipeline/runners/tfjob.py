"""Training on several workers of a cluster: `vlsearch train` as a TFJob.

The TFJob (`kubeflow.org/v1`, of Kubeflow's training operator) starts the same command on a chief
and on workers and tells them of each other by TF_CONFIG. This module makes its manifest: pure data,
neither TensorFlow nor a cluster is needed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from serving.kubernetes_names import is_label, is_subdomain
from vl_models.errors import UserError

# The operator finds the training's container, and the workers' port, by these names.
_CONTAINER = "tensorflow"
_PORT = {"name": "tfjob-port", "containerPort": 2222}
_USER = 1000
# A worker's SIGTERM stops all of them after the step that they are in, with a checkpoint.
_GRACE_SECONDS = 120
# Network file systems show a file to others after a while.
_FILES_TIMEOUT_SECONDS = 300

# Names of pods, <job>-worker-<n>, are host names of 63 characters.
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,48}[a-z0-9])?")
_CPU = re.compile(r"[0-9]+(\.[0-9]+)?|[0-9]+m")
_MEMORY = re.compile(r"[0-9]+(\.[0-9]+)?([kMGT]|[KMGT]i)?")


def tfjob(
    image: str,
    config: str,
    data: str,
    output: str,
    *,
    claim: str,
    mount_path: str = "/shared",
    name: str = "vlsearch-train",
    namespace: str | None = None,
    workers: int = 1,
    overrides: Sequence[str] = (),
    cpu: str = "4",
    memory: str = "16Gi",
    gpus: int = 0,
    service_account: str | None = None,
    active_deadline_seconds: int | None = None,
) -> dict[str, Any]:
    """Return the TFJob of one training on a chief and `workers` further workers.

    A worker that is killed or evicted is started again, and so are the others, which end with it:
    all of them exit with 128 or more (130 is ours for "to be continued", 137 and 143 come from
    signals), which the restart policy ExitCode retries from the last checkpoint. Wrong input (2)
    and what was not expected (1) end the job.

    Args:
        image: container image with vlsearch.
        config: experiment in the image or in the claim, an absolute path or one from the image's
            working directory.
        data: data folder, as `vlsearch train --data`.
        output: run folder below `mount_path`: checkpoints, history, towers; all workers share it.
        claim: PersistentVolumeClaim for the data and the run folder, writable by many nodes.
        mount_path: where the claim is mounted.
        name: of the TFJob, at most 50 characters.
        namespace: None leaves it to whoever applies the manifest.
        workers: beside the chief, which trains too; `train.global_batch_size` counts all their
            rows.
        overrides: `KEY=VALUE` as for `vlsearch train --set`, the same for all workers.
        cpu: cores of each, a Kubernetes quantity.
        memory: memory of each, a Kubernetes quantity.
        gpus: GPUs of each.
        service_account: that the pods run as; None is the namespace's default one.
        active_deadline_seconds: bound on the whole job, restarts included.

    Returns:
        The manifest.

    Raises:
        UserError: a value that Kubernetes, the operator or the training would refuse.
    """
    _check(
        _NAME.fullmatch,
        "name",
        name,
        "a DNS label of at most 50 characters that begins with a letter",
    )
    _check(is_subdomain, "claim", claim, "the name of a PersistentVolumeClaim")
    _check(is_label, "namespace", namespace, "a DNS label, such as team-search")
    _check(is_subdomain, "service_account", service_account, "the name of one")
    _check(_CPU.fullmatch, "cpu", cpu, "cores or thousandths of one, such as 4 or 1500m")
    _check(_MEMORY.fullmatch, "memory", memory, "bytes with a suffix, such as 16Gi")
    if workers < 1:
        raise UserError(
            "A TFJob needs at least one worker beside the chief; one process alone is `vlsearch "
            f"train` in a Job. Received: workers={workers}."
        )
    if gpus < 0:
        raise UserError(f"gpus must be 0 or more. Received: gpus={gpus}.")
    mount = mount_path.rstrip("/")
    if not mount.startswith("/") or not output.startswith(f"{mount}/"):
        raise UserError(
            "The run folder must be shared by all workers: give an output below mount_path, an "
            f"absolute path. Received: output={output!r}, mount_path={mount_path!r}."
        )
    command = ["vlsearch", "train", "--config", config, "--data", data, "--output", output]
    command += ["--worker-timeout", str(_FILES_TIMEOUT_SECONDS)]
    for override in overrides:
        command += ["--set", override]
    container = {
        "name": _CONTAINER,
        "image": image,
        "command": command,
        "ports": [_PORT],
        # The root file system is read-only: caches and TensorFlow's temporary files go here.
        "env": [{"name": "HOME", "value": "/tmp"}],
        "resources": _resources(cpu, memory, gpus),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "shared", "mountPath": mount},
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "shm", "mountPath": "/dev/shm"},
        ],
    }
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        "containers": [container],
        "volumes": [
            {"name": "shared", "persistentVolumeClaim": {"claimName": claim}},
            {"name": "tmp", "emptyDir": {}},
            # NCCL's replicas of one pod speak through it; the usual 64 MiB are too few.
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
        ],
    }
    if service_account is not None:
        pod["serviceAccountName"] = service_account
    if gpus:
        pod["tolerations"] = [
            {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
        ]
    labels = {
        "app.kubernetes.io/name": "vlsearch",
        "app.kubernetes.io/instance": name,
        "app.kubernetes.io/component": "trainer",
        "app.kubernetes.io/managed-by": "vlsearch",
    }
    metadata: dict[str, Any] = {"name": name, "labels": labels}
    if namespace is not None:
        metadata["namespace"] = namespace
    # The pods stay for their logs, unless they still run when the chief is done.
    policy: dict[str, Any] = {"cleanPodPolicy": "Running"}
    if active_deadline_seconds is not None:
        policy["activeDeadlineSeconds"] = active_deadline_seconds
    template = {
        # With a sidecar of a service mesh the workers do not find each other.
        "metadata": {"labels": labels, "annotations": {"sidecar.istio.io/inject": "false"}},
        "spec": pod,
    }
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "TFJob",
        "metadata": metadata,
        "spec": {
            "runPolicy": policy,
            "tfReplicaSpecs": {
                "Chief": {"replicas": 1, "restartPolicy": "ExitCode", "template": template},
                "Worker": {"replicas": workers, "restartPolicy": "ExitCode", "template": template},
            },
        },
    }


def _resources(cpu: str, memory: str, gpus: int) -> dict[str, Any]:
    requests: dict[str, Any] = {"cpu": cpu, "memory": memory}
    limits: dict[str, Any] = {"memory": memory}
    if gpus:
        limits["nvidia.com/gpu"] = gpus
    return {"requests": requests, "limits": limits}


def _check(fits: Callable[[str], object], key: str, value: str | None, wanted: str) -> None:
    if value is not None and not fits(value):
        raise UserError(f"{key} must be {wanted}. Received: {key}={value!r}.")
