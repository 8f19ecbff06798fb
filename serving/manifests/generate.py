"""The files of a Kustomize folder: the static ones of `kustomize/`, and overlays for a release.

Each overlay is one `kustomization.yaml` that puts what a release and the settings say into the
static objects, and the files of its ConfigMaps.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml

from serving.kubernetes_names import LABEL_LENGTH, label
from serving.manifests.layout import CONFIG_FOLDER, MODELS_CONFIG_FOLDER, Layout, plan_layout
from serving.manifests.settings import Settings
from serving.manifests.storage import Claim
from serving.model_config import CONFIG_FILE, config_text

_STATIC = Path(__file__).with_name("kustomize")
_KUSTOMIZATION = "kustomization.yaml"
_MONITORING = 'prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }\n'
# Name and instance of all objects in `kustomize/`.
_NAME = "vlsearch-serving"
_INSTANCE = "app.kubernetes.io/instance"
_POD = "/spec/template/spec"
_SERVER = f"{_POD}/containers/0"
_COPY = f"{_POD}/initContainers/0"
_PREDICTOR = "/spec/predictor"
_TOWER_LENGTH = LABEL_LENGTH - len("-predictor")
# Where KServe puts what `storageUri` names.
_KSERVE_MODELS = "/mnt/models"

Document = dict[str, Any]
Files = dict[str, str]


def generate(release_root: str | Path, settings: Settings) -> Files:
    """Give the text of every file, by its path in the folder.

    Args:
        release_root: folder with release.json.
        settings: what a person chose.

    Raises:
        ServingError: no complete release, or settings that do not fit it.
    """
    layout = plan_layout(release_root, settings)
    static = {
        path.relative_to(_STATIC).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(_STATIC.rglob("*"))
        if path.is_file()
    }
    overlays = {
        "cpu": _overlay(layout, settings, on_gpus=False),
        "gpu": _overlay(layout, settings, on_gpus=True),
        "kserve": _kserve(layout, settings),
    }
    return static | {
        f"overlays/{overlay}/{path}": text
        for overlay, files in overlays.items()
        for path, text in files.items()
    }


def _overlay(layout: Layout, settings: Settings, on_gpus: bool) -> Files:
    """Return the base for CPUs, or with the component for GPUs."""
    name, storage = settings.name, settings.storage
    files = {"monitoring.pbtxt": _MONITORING, "batching.pbtxt": _batching(settings, on_gpus)}
    generators: list[Document] = [{"name": f"{name}-config", "files": list(files)}]
    if layout.models_config is not None:
        files[CONFIG_FILE] = layout.models_config
        models: Document = {"name": f"{name}-models", "files": [CONFIG_FILE]}
        if isinstance(storage, Claim):
            # The same name for ever: running servers poll it, and new versions are in the volume.
            models["options"] = {"disableNameSuffixHash": True}
        generators.append(models)
    components = ["gpu"] if on_gpus else []
    if not isinstance(storage, Claim):
        components.append("object_store")
    autoscaler = [
        _replace("/spec/scaleTargetRef/name", name),
        _replace("/spec/minReplicas", settings.replicas),
        _replace("/spec/maxReplicas", settings.max_replicas),
    ]
    kustomization = _kustomization(
        settings,
        resources=["../../base"]
        + (["../../service_account"] if settings.service_account is None else []),
        components=[f"../../components/{component}" for component in components],
        labels=[{"pairs": {_INSTANCE: name}, "includeSelectors": True}],
        configMapGenerator=generators,
        patches=[
            _patch({"name": _NAME}, [_replace("/metadata/name", name)]),
            _patch({"kind": "HorizontalPodAutoscaler"}, autoscaler),
            _patch({"kind": "Deployment"}, _deployment(layout, settings, on_gpus)),
        ],
    )
    return {_KUSTOMIZATION: kustomization, **files}


def _deployment(layout: Layout, settings: Settings, on_gpus: bool) -> list[Document]:
    # The server would count the cores of the node.
    threads = 4 * settings.cores
    arguments = [
        f"--model_config_file={layout.config_path}",
        f"--grpc_max_threads={threads}",
        f"--rest_api_num_threads={threads}",
    ]
    operations = [
        _replace(f"{_POD}/serviceAccountName", settings.service_account or settings.name),
        _replace(f"{_POD}/volumes/1/configMap/name", f"{settings.name}-config"),
        _replace(f"{_SERVER}/image", settings.gpu_image if on_gpus else settings.image),
        _replace(f"{_SERVER}/resources/requests/cpu", settings.cpu),
        _replace(f"{_SERVER}/resources/requests/memory", settings.memory),
        _replace(f"{_SERVER}/resources/limits/memory", settings.memory),
        _replace(f"{_SERVER}/volumeMounts/0/mountPath", layout.root),
    ]
    if on_gpus:
        operations.append(
            _replace(f"{_SERVER}/resources/limits/nvidia.com~1gpu", settings.gpus),
        )
    else:
        arguments += _cpu_arguments(settings)
    operations += [_add(f"{_SERVER}/args/-", argument) for argument in arguments]
    for probe, page in (("startup", ""), ("readiness", "/metadata"), ("liveness", "")):
        path = f"/v1/models/{layout.probed}{page}"
        operations.append(_replace(f"{_SERVER}/{probe}Probe/httpGet/path", path))
    if layout.models_config is not None:
        models = {"name": "models", "configMap": {"name": f"{settings.name}-models"}}
        mount = {"name": "models", "mountPath": MODELS_CONFIG_FOLDER, "readOnly": True}
        operations += [_add(f"{_POD}/volumes/-", models), _add(f"{_SERVER}/volumeMounts/-", mount)]
    return operations + _storage(layout, settings)


def _storage(layout: Layout, settings: Settings) -> list[Document]:
    store = settings.storage
    if isinstance(store, Claim):
        claim = _replace(f"{_POD}/volumes/0/persistentVolumeClaim/claimName", store.name)
        path = [_add(f"{_SERVER}/volumeMounts/0/subPath", store.path)] if store.path else []
        return [claim, *path]
    arguments = ["copy", store.remote(""), layout.root]
    for model, versions in layout.pinned.items():
        arguments += [f"--filter=+ /{model}/{version}/**" for version in versions]
    arguments += ["--filter=- **", "--config=/tmp/rclone.conf"]
    operations = [
        _replace(f"{_COPY}/args", arguments),
        _replace(f"{_COPY}/volumeMounts/0/mountPath", layout.root),
    ]
    if settings.secret is not None:
        operations.append(_add(f"{_COPY}/envFrom", [{"secretRef": {"name": settings.secret}}]))
    elif store.scheme == "s3":
        # A Secret may name another provider and endpoint, which `env` would hide.
        provider = {"name": "RCLONE_S3_PROVIDER", "value": "AWS"}
        operations.append(_add(f"{_COPY}/env/-", provider))
    return operations


def _kserve(layout: Layout, settings: Settings) -> Files:
    """Return an InferenceService per tower, and the immutable ConfigMap of the release.

    The ConfigMap has the release in its name: another release changes the InferenceService, which
    makes a revision that a part of the traffic can be sent to, while the revision before it keeps
    its own ConfigMap.
    """
    data = {"batching.pbtxt": _batching(settings, on_gpus=False), "monitoring.pbtxt": _MONITORING}
    for model, versions in layout.pinned.items():
        data[f"{model}.{CONFIG_FILE}"] = config_text({model: versions}, {model: _KSERVE_MODELS})
    digest = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
    version = str(layout.release.version)
    name = f"{settings.name}-release-{version}-{digest[:8]}"
    model = f"{_PREDICTOR}/model"
    operations = [
        _add("/metadata/labels", {"app.kubernetes.io/version": version}),
        _replace(f"{_PREDICTOR}/minReplicas", settings.replicas),
        _replace(f"{_PREDICTOR}/maxReplicas", settings.max_replicas),
        _replace(f"{_PREDICTOR}/volumes/0/configMap/name", name),
        _replace(f"{model}/image", settings.image),
        *(_add(f"{model}/args/-", argument) for argument in _cpu_arguments(settings)),
    ]
    for bound in ("requests", "limits"):
        resources = {"cpu": settings.cpu, "memory": settings.memory}
        operations.append(_replace(f"{model}/resources/{bound}", resources))
    if settings.canary is not None:
        operations.append(_add(f"{_PREDICTOR}/canaryTrafficPercent", settings.canary))
    if settings.service_account is not None:
        # KServe reads the object store with the Secrets of this account.
        operations.append(_add(f"{_PREDICTOR}/serviceAccountName", settings.service_account))
    labels = {
        "app.kubernetes.io/name": "tensorflow-serving",
        _INSTANCE: settings.name,
        "app.kubernetes.io/component": "model-server",
        "app.kubernetes.io/part-of": "vlsearch",
        "app.kubernetes.io/managed-by": "vlsearch",
    }
    options = {"disableNameSuffixHash": True, "immutable": True}
    kustomization = _kustomization(
        settings,
        resources=list(layout.pinned),
        labels=[{"pairs": labels}],
        configMapGenerator=[{"name": name, "files": list(data), "options": options}],
        patches=[_patch({"kind": "InferenceService"}, operations)],
    )
    towers = {f"{tower}/{_KUSTOMIZATION}": _tower(tower, settings) for tower in layout.pinned}
    return {_KUSTOMIZATION: kustomization, **towers, **data}


def _tower(model: str, settings: Settings) -> str:
    config = f"--model_config_file={CONFIG_FOLDER}/{model}.{CONFIG_FILE}"
    operations = [
        # KServe adds "-predictor", and the whole is a label.
        _replace("/metadata/name", label(f"{settings.name}-{model}", _TOWER_LENGTH)),
        _replace(f"{_PREDICTOR}/model/storageUri", settings.storage.uri(model)),
        _add(f"{_PREDICTOR}/model/args/-", config),
    ]
    patch = _patch({"kind": "InferenceService"}, operations)
    return _kustomization(settings, resources=["../../../kserve"], patches=[patch])


def _cpu_arguments(settings: Settings) -> list[str]:
    """One thread for an operator, and one batch per core: so they do not wait for each other."""
    return [
        "--tensorflow_intra_op_parallelism=1",
        f"--tensorflow_inter_op_parallelism={settings.cores}",
    ]


def _batching(settings: Settings, on_gpus: bool) -> str:
    """BatchingParameters (text proto): a batch per core and hardly any waiting on CPUs.

    On GPUs batches are larger, and two of them are on the way to each GPU.
    """
    sizes = [1, 4, 16, 64, 128] if on_gpus else [1, 2, 4, 8, 16, 32]
    threads = 2 * settings.gpus if on_gpus else settings.cores
    return (
        # Rows of a request; it is split into batches of the sizes below.
        "max_batch_size { value: 1024 }\n"
        "enable_large_batch_splitting { value: true }\n"
        f"max_execution_batch_size {{ value: {sizes[-1]} }}\n"
        + "".join(f"allowed_batch_sizes: {size}\n" for size in sizes)
        + f"batch_timeout_micros {{ value: {2000 if on_gpus else 1000} }}\n"
        f"num_batch_threads {{ value: {threads} }}\n"
        # Beyond these a request is refused at once (UNAVAILABLE), and the client tries again.
        f"max_enqueued_batches {{ value: {16 * threads} }}\n"
    )


def _kustomization(settings: Settings, **fields: Any) -> str:
    document: Document = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
    }
    if settings.namespace is not None:
        document["namespace"] = settings.namespace
    return _yaml(document | {name: value for name, value in fields.items() if value})


def _patch(target: Document, operations: list[Document]) -> Document:
    """Return a JSON patch (RFC 6902) of the objects that `target` finds."""
    return {"target": target, "patch": _yaml(operations)}


def _replace(path: str, value: Any) -> Document:
    return {"op": "replace", "path": path, "value": value}


def _add(path: str, value: Any) -> Document:
    return {"op": "add", "path": path, "value": value}


def _yaml(document: Any) -> str:
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=200, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # Kustomize reads a bare y or n as a bool, which PyYAML does not.
    style = "|" if "\n" in text else "'" if text in ("y", "n") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
