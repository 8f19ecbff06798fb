"""The gRPC services: thin adapters from ServerCore to the real stubs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent import futures
from typing import Any

import grpc
from tensorflow_serving.apis import (
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from serving.errors import ServingError, StatusError
from serving.model_server.core import ServerCore

_MAX_MESSAGE = 1024
_OPTIONS = [
    # Unlimited, as TensorFlow Serving: clients have their own limits.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # Otherwise a second server would silently share the port.
    ("grpc.so_reuseport", 0),
]


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict and GetModelMetadata; what is not here answers UNIMPLEMENTED."""

    def __init__(self, core: ServerCore):
        self._core = core

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Runs one signature."""
        return _answer(self._core.predict, request, context)

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Signatures of a model."""
        return _answer(self._core.model_metadata, request, context)


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus; what is not here answers UNIMPLEMENTED."""

    def __init__(self, core: ServerCore):
        self._core = core

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:
        """States of the versions of a model."""
        return _answer(self._core.model_status, request, context)


def start_grpc_server(core: ServerCore, host: str, port: int, threads: int) -> tuple[Any, int]:
    """Starts a server with both services; returns it and its port (a free one if `port` is 0).

    Raises:
        ServingError: the port cannot be bound.
    """
    server = grpc.server(
        futures.ThreadPoolExecutor(threads, thread_name_prefix="grpc"), options=_OPTIONS
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(core), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(core), server)
    try:
        bound = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise ServingError(f"gRPC cannot listen on {host}:{port}: {error}.") from error
    server.start()
    return server, bound


def _answer(method: Callable[[Any], Any], request: Any, context: grpc.ServicerContext) -> Any:
    try:
        return method(request)
    except StatusError as error:
        text = error.message
        if len(text) > _MAX_MESSAGE:
            text = text[:_MAX_MESSAGE] + "...TRUNCATED"
        context.abort(grpc.StatusCode[error.code.name], text)
