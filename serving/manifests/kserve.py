"""KServe: an InferenceService per tower, and the immutable ConfigMap of the release.

KServe gives a predictor one folder, /mnt/models, and serves what lies there; a release has one
folder per tower, so each tower has its InferenceService. The ConfigMap has the release in its name:
another release changes the InferenceService, which makes a revision that a part of the traffic can
be sent to, while the revision before it keeps its own ConfigMap.
"""

from __future__ import annotations

import hashlib
import json

from serving.manifests import server
from serving.manifests.deployment import security_context
from serving.manifests.labels import Document, labels
from serving.manifests.layout import CONFIG_FOLDER, Layout
from serving.manifests.settings import Settings
from serving.model_config import CONFIG_FILE, config_text

# Where KServe puts what `storageUri` names, and the ports of its TensorFlow Serving runtime.
_MODELS = "/mnt/models"
_GRPC_PORT = 9000
_RUNTIME = "kserve-tensorflow-serving"


def config_map(layout: Layout, settings: Settings) -> Document:
    """models.config of every tower, batching and monitoring; never changed once applied."""
    data = {
        server.BATCHING_FILE: server.cpu_batching(settings),
        server.MONITORING_FILE: server.MONITORING,
    }
    for model, versions in layout.pinned.items():
        data[_config_file(model)] = config_text({model: versions}, {model: _MODELS})
    digest = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"{settings.name}-release-{layout.release.version}-{digest[:8]}",
            "labels": labels(settings),
        },
        "immutable": True,
        "data": data,
    }


def inference_service(model: str, layout: Layout, settings: Settings) -> Document:
    """The InferenceService of one tower; it answers TensorFlow Serving's gRPC API."""
    predictor: Document = {"minReplicas": settings.replicas, "maxReplicas": settings.max_replicas}
    if settings.canary is not None:
        predictor = {"canaryTrafficPercent": settings.canary, **predictor}
    if settings.service_account is not None:
        # KServe reads the object store with the Secrets of this account.
        predictor["serviceAccountName"] = settings.service_account
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": inference_service_name(model, settings),
            "labels": {
                **labels(settings),
                "app.kubernetes.io/version": str(layout.release.version),
            },
            # Each revision also gets an address of its own, for trying it out.
            "annotations": {"serving.kserve.io/enable-tag-routing": "true"},
        },
        "spec": {
            "predictor": {
                **predictor,
                "model": _model(model, settings),
                "volumes": [
                    {
                        "name": "config",
                        "configMap": {"name": config_map(layout, settings)["metadata"]["name"]},
                    }
                ],
            }
        },
    }


def inference_service_name(model: str, settings: Settings) -> str:
    """Name of a tower's InferenceService; underscores are not allowed there."""
    return f"{settings.name}-{model.replace('_', '-')}"


def _model(model: str, settings: Settings) -> Document:
    resources = {"cpu": settings.cpu, "memory": settings.memory}
    return {
        "modelFormat": {"name": "tensorflow"},
        "runtime": _RUNTIME,
        "storageUri": settings.storage.uri(model),
        # The runtime's own is years older.
        "image": settings.image,
        # KServe puts the runtime's arguments (ports, --model_name, --model_base_path) before these;
        # with a configuration file the latter two do not count.
        "args": [
            f"--model_config_file={CONFIG_FOLDER}/{_config_file(model)}",
            *server.monitoring_arguments(),
            *server.batching_arguments(),
            *server.cpu_arguments(settings),
        ],
        "ports": [{"name": "h2c", "containerPort": _GRPC_PORT, "protocol": "TCP"}],
        "resources": {"requests": resources, "limits": resources},
        "securityContext": security_context(),
        "volumeMounts": [{"name": "config", "mountPath": CONFIG_FOLDER, "readOnly": True}],
    }


def _config_file(model: str) -> str:
    return f"{model}.{CONFIG_FILE}"
