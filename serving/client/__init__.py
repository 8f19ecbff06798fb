"""Clients that need no TensorFlow.

Of a model server (`PredictClient`): with grpcio, protobuf and numpy. Of a search service
(`SearchClient`): with httpx, which is imported when that is asked for.
"""

from typing import Any

from serving.client.aio import AsyncPredictClient
from serving.client.channel import TlsConfig
from serving.client.model_config import ServedModelConfig
from serving.client.results import (
    ClassScore,
    ModelMetadata,
    SignatureInfo,
    TensorInfo,
    VersionStatus,
)
from serving.client.retry import RetryPolicy
from serving.client.sync import PredictClient

_SEARCH = ("AsyncSearchClient", "SearchClient")

__all__ = [
    "AsyncPredictClient",
    "AsyncSearchClient",
    "ClassScore",
    "ModelMetadata",
    "PredictClient",
    "RetryPolicy",
    "SearchClient",
    "ServedModelConfig",
    "SignatureInfo",
    "TensorInfo",
    "TlsConfig",
    "VersionStatus",
]


def __getattr__(name: str) -> Any:
    if name in _SEARCH:
        from serving.client import search

        return getattr(search, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
