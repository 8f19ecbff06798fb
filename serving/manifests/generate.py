"""The files of a Kustomize folder: a base, and overlays for CPUs, GPUs and KServe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from serving.manifests import kserve, objects, server
from serving.manifests.deployment import (
    CONTAINER,
    config_map_name,
    deployment,
    models_map_name,
)
from serving.manifests.labels import Document
from serving.manifests.layout import Layout, plan_layout
from serving.manifests.settings import Settings
from serving.manifests.storage import Claim
from serving.model_config import CONFIG_FILE

_KUSTOMIZATION = "kustomization.yaml"
_GPU = "nvidia.com/gpu"
Files = dict[str, str]


def generate(release_root: str | Path, settings: Settings) -> Files:
    """Text of every file, by its path in the folder.

    Args:
        release_root: folder with release.json.

    Raises:
        ServingError: no complete release, or settings that do not fit it.
    """
    layout = plan_layout(release_root, settings)
    return {
        **_folder("base", _base(layout, settings)),
        **_folder("overlays/cpu", _cpu(settings)),
        **_folder("overlays/gpu", _gpu(settings)),
        **_folder("overlays/kserve", _kserve(layout, settings)),
    }


def _base(layout: Layout, settings: Settings) -> Files:
    documents = {
        "deployment.yaml": deployment(layout, settings),
        "service.yaml": objects.service(settings),
        "autoscaler.yaml": objects.autoscaler(settings),
        "disruption_budget.yaml": objects.disruption_budget(settings),
    }
    if settings.service_account is None:
        documents["service_account.yaml"] = objects.service_account(settings)
    texts = {server.MONITORING_FILE: server.MONITORING}
    generators: list[Document] = [
        {"name": config_map_name(settings), "files": [server.MONITORING_FILE]}
    ]
    if layout.models_config is not None:
        texts[CONFIG_FILE] = layout.models_config
        models: Document = {"name": models_map_name(settings), "files": [CONFIG_FILE]}
        if isinstance(settings.storage, Claim):
            # The same name for ever: running servers poll it, and new versions are in the volume.
            models["options"] = {"disableNameSuffixHash": True}
        generators.append(models)
    kustomization = _kustomization(
        settings, resources=list(documents), configMapGenerator=generators
    )
    return {_KUSTOMIZATION: kustomization, **_dumped(documents), **texts}


def _cpu(settings: Settings) -> Files:
    arguments = [*server.batching_arguments(), *server.cpu_arguments(settings)]
    return _overlay(settings, server.cpu_batching(settings), _added_arguments(arguments))


def _gpu(settings: Settings) -> Files:
    patch = _added_arguments(server.batching_arguments())
    # Whole pods go to GPU nodes, which are usually tainted for others.
    patch += [
        {
            "op": "add",
            "path": "/spec/template/spec/containers/0/resources/limits/nvidia.com~1gpu",
            "value": settings.gpus,
        },
        {
            "op": "add",
            "path": "/spec/template/spec/tolerations",
            "value": [{"key": _GPU, "operator": "Exists", "effect": "NoSchedule"}],
        },
        {
            "op": "replace",
            "path": "/spec/template/spec/containers/0/image",
            "value": settings.gpu_image,
        },
    ]
    return _overlay(settings, server.gpu_batching(settings), patch)


def _overlay(settings: Settings, batching: str, patch: list[Document]) -> Files:
    """The base with another batching file and a patched Deployment."""
    kustomization = _kustomization(
        settings,
        resources=["../../base"],
        configMapGenerator=[
            {
                "name": config_map_name(settings),
                "behavior": "merge",
                "files": [server.BATCHING_FILE],
            }
        ],
        patches=[
            {
                "path": "deployment_patch.yaml",
                "target": {
                    "group": "apps",
                    "version": "v1",
                    "kind": "Deployment",
                    "name": settings.name,
                },
            }
        ],
    )
    return {
        _KUSTOMIZATION: kustomization,
        "deployment_patch.yaml": _yaml(patch),
        server.BATCHING_FILE: batching,
    }


def _kserve(layout: Layout, settings: Settings) -> Files:
    """Stands alone: KServe makes Deployment, Service and autoscaler itself."""
    documents = {"config_map.yaml": kserve.config_map(layout, settings)}
    for model in layout.pinned:
        documents[f"{model}.yaml"] = kserve.inference_service(model, layout, settings)
    kustomization = _kustomization(settings, resources=list(documents))
    return {_KUSTOMIZATION: kustomization, **_dumped(documents)}


def _added_arguments(arguments: list[str]) -> list[Document]:
    """A JSON patch (RFC 6902) that adds arguments to the server's."""
    path = "/spec/template/spec/containers/0/args/-"
    first: Document = {
        "op": "test",
        "path": "/spec/template/spec/containers/0/name",
        "value": CONTAINER,
    }
    return [first, *({"op": "add", "path": path, "value": value} for value in arguments)]


def _kustomization(settings: Settings, **fields: Any) -> str:
    document: Document = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
    }
    if settings.namespace is not None:
        document["namespace"] = settings.namespace
    return _yaml(document | fields)


def _folder(name: str, contents: Files) -> Files:
    return {f"{name}/{path}": text for path, text in contents.items()}


def _dumped(documents: dict[str, Document]) -> Files:
    return {path: _yaml(document) for path, document in documents.items()}


def _yaml(document: Any) -> str:
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=200, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Lists indented, as Kubernetes' own examples are; texts of several lines as blocks."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
