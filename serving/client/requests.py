"""Requests and the reading of responses, the same for the clients with and without asyncio."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from serving import arguments, tensors, wire
from serving.client.examples import Row, fill_input
from serving.client.model_config import ServedModelConfig, fill_model_server_config
from serving.client.results import (
    ClassScore,
    ModelMetadata,
    SignatureInfo,
    TensorInfo,
    VersionStatus,
)
from serving.errors import Code, ServingError, StatusError

R = TypeVar("R")

_SIGNATURE_DEF = "signature_def"
# ModelVersionStatus.State, get_model_status.proto.
_STATES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}
# HealthCheckResponse.ServingStatus, grpc/health/v1/health.proto.
_SERVING = 1
_METHOD_NAMES = {
    "classify": "tensorflow/serving/classify",
    "regress": "tensorflow/serving/regress",
}
_INT64_MAX = 2**63 - 1
_PREDICTION = "/tensorflow.serving.PredictionService"
_MODEL = "/tensorflow.serving.ModelService"


@dataclass(frozen=True)
class Call(Generic[R]):
    """A request, where it goes, and what its response means.

    Attributes:
        path: of the method, `/SERVICE/METHOD`.
        request: its message.
        response: class of the response's message.
        read: what a caller gets of a response.
    """

    path: str
    request: Any
    response: Any
    read: Callable[[Any], R]


@dataclass(frozen=True)
class ModelChoice:
    """What a ModelSpec names: a model, and at most one of version and label."""

    name: str
    signature_name: str | None = None
    version: int | None = None
    version_label: str | None = None

    def fill(self, spec: Any) -> None:
        """Write the ModelSpec.

        Raises:
            ServingError: both version and label, or another type than it should be.
        """
        if self.version is not None and self.version_label is not None:
            raise ServingError(
                "Give either version or version_label, not both. "
                f"Received: version={self.version}, version_label={self.version_label!r}."
            )
        spec.name = arguments.name_of("model_name", self.name)
        if self.signature_name is not None:
            spec.signature_name = arguments.name_of("signature_name", self.signature_name)
        if self.version is not None:
            version = arguments.whole_number("version", self.version, least=0, most=_INT64_MAX)
            spec.version.value = version
        if self.version_label is not None:
            spec.version_label = arguments.name_of("version_label", self.version_label)


def input_arrays(inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return inputs as arrays that a tensor can hold.

    Raises:
        ServingError: one that is no tensor; names it.
    """
    if not isinstance(inputs, Mapping):
        raise ServingError(
            "inputs is a mapping from names of inputs to their values, such as "
            f"{{'query': [...]}}. Received: {type(inputs).__name__}."
        )
    arrays = {}
    for name, values in inputs.items():
        arguments.name_of("The name of an input", name)
        try:
            arrays[name] = tensors.as_array(values)
        except ServingError as error:
            raise ServingError(f"Input {name}: {error}") from error
    return arrays


def predict(
    model: ModelChoice, arrays: Mapping[str, np.ndarray], output_filter: Sequence[str]
) -> Call[dict[str, np.ndarray]]:
    """Predict: arrays by name in and out."""
    request = wire.PredictRequest()
    model.fill(request.model_spec)
    request.output_filter.extend(arguments.texts("output_filter", output_filter))
    for name, array in arrays.items():
        try:
            tensors.encode(array, request.inputs[name], typed_fields=False)
        except ServingError as error:
            raise ServingError(f"Input {name}: {error}") from error
    return Call(f"{_PREDICTION}/Predict", request, wire.PredictResponse, _read_outputs)


def _read_outputs(response: Any) -> dict[str, np.ndarray]:
    outputs = {}
    for name, proto in response.outputs.items():
        try:
            outputs[name] = tensors.decode(proto)
        except ServingError as error:
            raise ServingError(f"Output {name}: {error}") from error
    return outputs


def classify(
    model: ModelChoice, rows: Sequence[Row], context: Row | None
) -> Call[list[list[ClassScore]]]:
    """Classify: the classes of each row."""
    request = wire.ClassificationRequest()
    model.fill(request.model_spec)
    fill_input(request.input, rows, context)
    return Call(
        f"{_PREDICTION}/Classify",
        request,
        wire.ClassificationResponse,
        lambda response: _classes(response.result),
    )


def regress(model: ModelChoice, rows: Sequence[Row], context: Row | None) -> Call[np.ndarray]:
    """Regress: float32 [rows]."""
    request = wire.RegressionRequest()
    model.fill(request.model_spec)
    fill_input(request.input, rows, context)
    return Call(
        f"{_PREDICTION}/Regress",
        request,
        wire.RegressionResponse,
        lambda response: _values(response.result),
    )


def multi_inference(
    model: ModelChoice, rows: Sequence[Row], methods: Mapping[str, str], context: Row | None
) -> Call[dict[str, Any]]:
    """MultiInference: what classify or regress returns, by signature name."""
    request = wire.MultiInferenceRequest()
    for signature_name, method in methods.items():
        if method not in _METHOD_NAMES:
            raise ServingError(
                f"Signature {signature_name} is to 'classify' or to 'regress'. "
                f"Received: {method!r}."
            )
        task = request.tasks.add(method_name=_METHOD_NAMES[method])
        model.fill(task.model_spec)
        task.model_spec.signature_name = signature_name
    fill_input(request.input, rows, context)
    return Call(
        f"{_PREDICTION}/MultiInference", request, wire.MultiInferenceResponse, _read_results
    )


def _read_results(response: Any) -> dict[str, Any]:
    return {
        result.model_spec.signature_name: (
            _classes(result.classification_result)
            if result.WhichOneof("result") == "classification_result"
            else _values(result.regression_result)
        )
        for result in response.results
    }


def _classes(result: Any) -> list[list[ClassScore]]:
    return [
        [ClassScore(item.label, item.score) for item in row.classes]
        for row in result.classifications
    ]


def _values(result: Any) -> np.ndarray:
    return np.array([item.value for item in result.regressions], dtype=np.float32)


def model_metadata(model: ModelChoice) -> Call[ModelMetadata]:
    """GetModelMetadata of the signatures."""
    request = wire.GetModelMetadataRequest(metadata_field=[_SIGNATURE_DEF])
    model.fill(request.model_spec)
    return Call(
        f"{_PREDICTION}/GetModelMetadata", request, wire.GetModelMetadataResponse, _read_metadata
    )


def _read_metadata(response: Any) -> ModelMetadata:
    signatures = wire.SignatureDefMap.FromString(response.metadata[_SIGNATURE_DEF].value)
    return ModelMetadata(
        name=response.model_spec.name,
        version=response.model_spec.version.value,
        signatures={
            name: SignatureInfo(
                inputs=_tensor_infos(signature.inputs),
                outputs=_tensor_infos(signature.outputs),
                method_name=signature.method_name,
            )
            for name, signature in sorted(signatures.signature_def.items())
        },
    )


def _tensor_infos(infos: Any) -> dict[str, TensorInfo]:
    return {
        name: TensorInfo(tensors.dtype_name(info.dtype), _shape(info.tensor_shape))
        for name, info in sorted(infos.items())
    }


def _shape(proto: Any) -> tuple[int | None, ...] | None:
    if proto.unknown_rank:
        return None
    return tuple(dim.size if dim.size >= 0 else None for dim in proto.dim)


def model_status(model: ModelChoice) -> Call[list[VersionStatus]]:
    """GetModelStatus: all versions, or the one chosen."""
    request = wire.GetModelStatusRequest()
    model.fill(request.model_spec)
    return Call(f"{_MODEL}/GetModelStatus", request, wire.GetModelStatusResponse, _read_status)


def _read_status(response: Any) -> list[VersionStatus]:
    return [
        VersionStatus(
            version=item.version,
            state=_STATES.get(item.state, str(item.state)),
            error=item.status.error_message,
        )
        for item in response.model_version_status
    ]


def reload_config(models: str | Sequence[ServedModelConfig]) -> Call[None]:
    """Make the server serve these models instead of those that it has."""
    request = wire.ReloadConfigRequest()
    fill_model_server_config(request.config, models)
    return Call(
        f"{_MODEL}/HandleReloadConfigRequest", request, wire.ReloadConfigResponse, _read_reload
    )


def _read_reload(response: Any) -> None:
    # TensorFlow Serving puts the status here and into gRPC's own.
    if response.status.error_code:
        raise StatusError(Code(response.status.error_code), response.status.error_message)


def health() -> Call[bool]:
    """Health check of the server as a whole."""
    return Call(
        "/grpc.health.v1.Health/Check",
        wire.HealthCheckRequest(),
        wire.HealthCheckResponse,
        lambda response: response.status == _SERVING,
    )
