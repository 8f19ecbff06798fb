"""Clients of a model server that need grpcio, protobuf and numpy, and not TensorFlow."""

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

__all__ = [
    "AsyncPredictClient",
    "ClassScore",
    "ModelMetadata",
    "PredictClient",
    "RetryPolicy",
    "ServedModelConfig",
    "SignatureInfo",
    "TensorInfo",
    "TlsConfig",
    "VersionStatus",
]
