"""A Predict client that needs grpcio, protobuf and numpy, and not TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import grpc
import numpy as np

from serving import tensors, wire
from serving.errors import Code, ServingError, StatusError

_PREDICT = "/tensorflow.serving.PredictionService/Predict"
_STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
# gRPC's own limit is 4 MB, less than one batch of photographs; the server has none.
_OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
_STATES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}


@dataclass(frozen=True)
class VersionStatus:
    """State of one version of a model, as the server reports it."""

    version: int
    state: str
    error: str = ""


class PredictClient:
    """Calls Predict and GetModelStatus of a model server (TensorFlow Serving or the embedded one).

    Safe to share between threads: one HTTP/2 channel carries all calls.

    Args:
        address: `HOST:PORT` of the gRPC port.
        timeout: seconds that one call may take.
    """

    def __init__(self, address: str, timeout: float = 30.0):
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit():
            raise ServingError(
                "The address of a model server is HOST:PORT of its gRPC port, such as "
                f"127.0.0.1:8500. Received: address={address!r}."
            )
        self.address = address
        self.timeout = timeout
        self._channel = grpc.insecure_channel(address, options=_OPTIONS)
        self._predict = self._channel.unary_unary(
            _PREDICT,
            request_serializer=wire.PredictRequest.SerializeToString,
            response_deserializer=wire.PredictResponse.FromString,
        )
        self._status = self._channel.unary_unary(
            _STATUS,
            request_serializer=wire.GetModelStatusRequest.SerializeToString,
            response_deserializer=wire.GetModelStatusResponse.FromString,
        )

    def predict(
        self,
        model_name: str,
        inputs: Mapping[str, Any],
        signature_name: str | None = None,
        version: int | None = None,
        version_label: str | None = None,
    ) -> dict[str, np.ndarray]:
        """Runs one signature: arrays (or nested lists) by input name in, arrays by output name out.

        Strings go in as str (sent as UTF-8) or bytes and come out as arrays of bytes.

        Raises:
            StatusError: the server refused the request, or did not answer; `.code` says which.
            ServingError: an input that is no tensor, or both `version` and `version_label`.
        """
        if version is not None and version_label is not None:
            raise ServingError(
                "Give either version or version_label, not both. "
                f"Received: version={version}, version_label={version_label!r}."
            )
        request = wire.PredictRequest()
        request.model_spec.name = model_name
        if signature_name is not None:
            request.model_spec.signature_name = signature_name
        if version is not None:
            request.model_spec.version.value = version
        if version_label is not None:
            request.model_spec.version_label = version_label
        for name, values in inputs.items():
            tensors.encode(tensors.as_array(values), request.inputs[name], typed_fields=False)
        response = self._call(self._predict, request)
        return {name: tensors.decode(proto) for name, proto in response.outputs.items()}

    def model_status(self, model_name: str) -> list[VersionStatus]:
        """All versions of a model that the server knows, highest first.

        Raises:
            StatusError: NOT_FOUND for a model without any version, or the server did not answer.
        """
        request = wire.GetModelStatusRequest()
        request.model_spec.name = model_name
        response = self._call(self._status, request)
        return [
            VersionStatus(
                version=item.version,
                state=_STATES.get(item.state, str(item.state)),
                error=item.status.error_message,
            )
            for item in response.model_version_status
        ]

    def close(self) -> None:
        """Closes the channel; calls that are under way are cancelled."""
        self._channel.close()

    def __enter__(self) -> PredictClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _call(self, method: Any, request: Any) -> Any:
        try:
            return method(request, timeout=self.timeout)
        except grpc.RpcError as error:
            code, details = Code[error.code().name], error.details() or ""
        if code == Code.UNAVAILABLE:
            raise StatusError(
                code,
                f"No model server answers at {self.address} ({details}). Start one with "
                "`vlsearch serve ROOT`, or give the address of a running one.",
            )
        if code == Code.DEADLINE_EXCEEDED:
            raise StatusError(
                code,
                f"The model server at {self.address} did not answer within {self.timeout:g} s. "
                "Raise the timeout, or send fewer rows per request.",
            )
        raise StatusError(code, details)
