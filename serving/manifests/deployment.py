"""The Deployment: one TensorFlow Serving per pod, over the release root."""

from __future__ import annotations

from serving.manifests import server
from serving.manifests.labels import Document, labels, metadata, selector
from serving.manifests.layout import CONFIG_FOLDER, MODELS_CONFIG_FOLDER, Layout
from serving.manifests.settings import Settings
from serving.manifests.storage import Claim, ObjectStore

CONTAINER = "tensorflow-serving"
_COPY_IMAGE = "rclone/rclone:1.68.2"
# The image runs as root unless told otherwise.
_USER = 1000
_SAFE: Document = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
# The convention of Prometheus' example configuration for Kubernetes.
_SCRAPED = {
    "prometheus.io/scrape": "true",
    "prometheus.io/port": str(server.REST_PORT),
    "prometheus.io/path": server.METRICS_PATH,
}
_RELEASE = "release"
_TEMPORARY = "tmp"


def deployment(layout: Layout, settings: Settings) -> Document:
    """The Deployment. It names no number of replicas: that is the autoscaler's."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(settings),
        "spec": {
            "selector": {"matchLabels": selector(settings)},
            # Never fewer pods than before, also while new ones load their models.
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "template": {
                "metadata": {"labels": labels(settings), "annotations": _SCRAPED},
                "spec": _pod(layout, settings),
            },
        },
    }


def security_context() -> Document:
    """A container's: no user root, no privileges, nothing written but in its volumes."""
    return {"runAsNonRoot": True, "runAsUser": _USER, **_SAFE}


def config_map_name(settings: Settings) -> str:
    """The ConfigMap with the server's configuration files."""
    return f"{settings.name}-config"


def models_map_name(settings: Settings) -> str:
    """The ConfigMap with a models.config for the mount path."""
    return f"{settings.name}-models"


def _pod(layout: Layout, settings: Settings) -> Document:
    pod: Document = {
        "serviceAccountName": settings.service_account or settings.name,
        # TensorFlow Serving never speaks to Kubernetes.
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": server.DRAIN_SECONDS + 15,
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": selector(settings)},
            }
            for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
        ],
    }
    if isinstance(settings.storage, ObjectStore):
        pod["initContainers"] = [_copy(layout, settings, settings.storage)]
    return pod | {
        "containers": [_container(layout, settings)],
        "volumes": _volumes(layout, settings),
    }


def _container(layout: Layout, settings: Settings) -> Document:
    release: Document = {"name": _RELEASE, "mountPath": layout.root, "readOnly": True}
    if isinstance(settings.storage, Claim) and settings.storage.path:
        release["subPath"] = settings.storage.path
    mounts = [
        release,
        {"name": "config", "mountPath": CONFIG_FOLDER, "readOnly": True},
        {"name": _TEMPORARY, "mountPath": "/tmp"},
    ]
    if layout.models_config is not None:
        mounts.append({"name": "models", "mountPath": MODELS_CONFIG_FOLDER, "readOnly": True})
    return {
        "name": CONTAINER,
        "image": settings.image,
        # Not the image's own entry point, which serves one model that it names by itself.
        "command": ["/usr/bin/tensorflow_model_server"],
        "args": server.arguments(layout, settings),
        "ports": [
            {"name": "grpc", "containerPort": server.GRPC_PORT},
            {"name": "rest", "containerPort": server.REST_PORT},
        ],
        **_probes(layout),
        # Off the Service first, then time for clients to move on: see DRAIN_SECONDS.
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(server.DRAIN_SECONDS)]}}},
        # No limit of CPU: being throttled is what makes the slowest requests slow.
        "resources": {
            "requests": {"cpu": settings.cpu, "memory": settings.memory},
            "limits": {"memory": settings.memory},
        },
        "securityContext": _SAFE,
        "volumeMounts": mounts,
    }


def _probes(layout: Layout) -> Document:
    """The ports open only when all models are loaded and warm; from then on:

    - ready while the model answers: its metadata needs a loaded version, its status does not;
    - alive while REST answers anything about it, and generously, as a busy pod is not a dead one.
    """
    model = f"/v1/models/{layout.probed}"
    return {
        # Ten minutes to load.
        "startupProbe": {
            "httpGet": {"path": model, "port": "rest"},
            "periodSeconds": 5,
            "timeoutSeconds": 5,
            "failureThreshold": 120,
        },
        "readinessProbe": {
            "httpGet": {"path": f"{model}/metadata", "port": "rest"},
            "periodSeconds": 5,
            "timeoutSeconds": 5,
            "failureThreshold": 2,
        },
        "livenessProbe": {
            "httpGet": {"path": model, "port": "rest"},
            "periodSeconds": 20,
            "timeoutSeconds": 15,
            "failureThreshold": 6,
        },
    }


def _volumes(layout: Layout, settings: Settings) -> list[Document]:
    source: Document
    if isinstance(settings.storage, Claim):
        source = {"persistentVolumeClaim": {"claimName": settings.storage.name, "readOnly": True}}
    else:
        source = {"emptyDir": {}}
    volumes: list[Document] = [
        {"name": _RELEASE, **source},
        {"name": "config", "configMap": {"name": config_map_name(settings)}},
        {"name": _TEMPORARY, "emptyDir": {}},
    ]
    if layout.models_config is not None:
        volumes.append({"name": "models", "configMap": {"name": models_map_name(settings)}})
    return volumes


def _copy(layout: Layout, settings: Settings, store: ObjectStore) -> Document:
    """Copies the pinned versions before the server starts; TensorFlow Serving reads no s3://.

    Credentials come from the pod's service account, or from the keys of a Secret as environment.
    """
    filters = []
    for model, versions in layout.pinned.items():
        filters += [f"--filter=+ /{model}/{version}/**" for version in versions]
    container: Document = {
        "name": "copy-release",
        "image": _COPY_IMAGE,
        "args": [
            "copy",
            store.remote(""),
            layout.root,
            *filters,
            "--filter=- **",
            "--config=/tmp/rclone.conf",
        ],
        "env": [
            {"name": "RCLONE_S3_ENV_AUTH", "value": "true"},
            {"name": "RCLONE_GCS_ENV_AUTH", "value": "true"},
        ],
        "resources": {"requests": {"cpu": "500m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": _SAFE,
        "volumeMounts": [
            {"name": _RELEASE, "mountPath": layout.root},
            {"name": _TEMPORARY, "mountPath": "/tmp"},
        ],
    }
    if settings.secret is not None:
        container["envFrom"] = [{"secretRef": {"name": settings.secret}}]
    elif store.scheme == "s3":
        # A Secret may name another provider and endpoint, which `env` would hide.
        container["env"].append({"name": "RCLONE_S3_PROVIDER", "value": "AWS"})
    return container
