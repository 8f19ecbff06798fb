"""What stands around the Deployment: Service, autoscaler, disruption budget, service account."""

from __future__ import annotations

from serving.manifests import server
from serving.manifests.labels import Document, metadata, selector
from serving.manifests.settings import Settings

_CPU_PER_CENT = 70


def service(settings: Settings) -> Document:
    """gRPC and REST under one name in the cluster."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(settings),
        "spec": {
            "type": "ClusterIP",
            "selector": selector(settings),
            "ports": [
                {
                    "name": "grpc",
                    "port": server.GRPC_PORT,
                    "targetPort": "grpc",
                    "appProtocol": "kubernetes.io/h2c",
                },
                {
                    "name": "rest",
                    "port": server.REST_PORT,
                    "targetPort": "rest",
                    "appProtocol": "http",
                },
            ],
        },
    }


def autoscaler(settings: Settings) -> Document:
    """Pods by CPU use; slow to go down, as a new pod loads for a while."""
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(settings),
        "spec": {
            "scaleTargetRef": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": settings.name,
            },
            "minReplicas": settings.replicas,
            "maxReplicas": settings.max_replicas,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": _CPU_PER_CENT},
                    },
                }
            ],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}},
        },
    }


def disruption_budget(settings: Settings) -> Document:
    """Nodes are drained one pod at a time; with one replica, too, which then is away meanwhile."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(settings),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector(settings)}},
    }


def service_account(settings: Settings) -> Document:
    """One without rights; annotate it where the object store goes by workload identity."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(settings),
        "automountServiceAccountToken": False,
    }
