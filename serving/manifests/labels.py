"""Labels and metadata that all objects share."""

from __future__ import annotations

from typing import Any

from serving.manifests.settings import Settings

Document = dict[str, Any]


def selector(settings: Settings) -> dict[str, str]:
    """Labels that find the pods; a Deployment's can never change, so they name no version."""
    return {
        "app.kubernetes.io/name": "tensorflow-serving",
        "app.kubernetes.io/instance": settings.name,
    }


def labels(settings: Settings) -> dict[str, str]:
    """Labels of every object."""
    return {
        **selector(settings),
        "app.kubernetes.io/component": "model-server",
        "app.kubernetes.io/part-of": "vlsearch",
        "app.kubernetes.io/managed-by": "vlsearch",
    }


def metadata(settings: Settings, suffix: str = "") -> Document:
    """Name and labels."""
    return {"name": settings.name + suffix, "labels": labels(settings)}
