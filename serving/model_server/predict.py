"""Predict, shared by gRPC and REST: the checks and texts of TensorFlow Serving's predict_util."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from tensorflow_serving.apis import predict_pb2

from serving import tensors
from serving.errors import Code, ServingError, StatusError
from serving.model_server.saved_model import DEFAULT_SIGNATURE, SavedModel


def run_predict(
    model: SavedModel, version: int, request: predict_pb2.PredictRequest
) -> predict_pb2.PredictResponse:
    """Runs the signature that `request` names on `model`.

    Outputs are written to typed fields (`float_val`, ...), TensorFlow Serving's default.

    Raises:
        StatusError: FAILED_PRECONDITION, unknown signature; INVALID_ARGUMENT, wrong inputs or
            output filter; or what the graph raised.
    """
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    if name not in model.signatures:
        raise StatusError(Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
    signature = model.signatures[name]
    _check_input_count(signature, request)
    feeds = _feeds(signature, request)
    aliases = _output_aliases(signature, request.output_filter)
    values = model.run(feeds, [signature.outputs[alias].name for alias in aliases])

    response = predict_pb2.PredictResponse()
    response.model_spec.name = request.model_spec.name
    response.model_spec.version.value = version
    response.model_spec.signature_name = name
    for alias, value in zip(aliases, values):
        try:
            tensors.encode(np.asarray(value), response.outputs[alias], typed_fields=True)
        except ServingError as error:
            raise StatusError(Code.UNIMPLEMENTED, f"Output {alias}: {error}") from error
    return response


def _check_input_count(signature: Any, request: predict_pb2.PredictRequest) -> None:
    sent, known = set(request.inputs), set(signature.inputs)
    if len(sent) == len(known) or (len(sent) < len(known) and signature.defaults):
        return
    raise StatusError(
        Code.INVALID_ARGUMENT,
        f"input size does not match signature: {len(sent)}!={len(known)} len({_braces(sent)}) != "
        f"len({_braces(known)}). Sent extra: {_braces(sent - known)}. "
        f"Missing but required: {_braces(known - sent)}.",
    )


def _feeds(signature: Any, request: predict_pb2.PredictRequest) -> dict[str, np.ndarray]:
    for alias in request.inputs:
        if alias not in signature.inputs:
            raise StatusError(
                Code.INVALID_ARGUMENT,
                f"input tensor alias not found in signature: {alias}. "
                f"Inputs expected to be in the set {_braces(signature.inputs)}.",
            )
    feeds = {}
    for alias, info in signature.inputs.items():
        if alias in request.inputs:
            proto = request.inputs[alias]
        elif alias in signature.defaults:
            proto = signature.defaults[alias]
        else:
            raise StatusError(
                Code.INVALID_ARGUMENT, f"input tensor has neither value nor default: {alias}"
            )
        try:
            feeds[info.name] = tensors.decode(proto)
        except ServingError as error:
            raise StatusError(Code.INVALID_ARGUMENT, f"tensor parsing error: {alias}") from error
    return feeds


def _output_aliases(signature: Any, output_filter: Iterable[str]) -> list[str]:
    aliases: list[str] = []
    for alias in output_filter:
        if alias not in signature.outputs:
            raise StatusError(
                Code.INVALID_ARGUMENT,
                f"output tensor alias not found in signature: {alias} "
                f"Outputs expected to be in the set {_braces(signature.outputs)}.",
            )
        if alias in aliases:
            raise StatusError(Code.INVALID_ARGUMENT, f"duplicate output tensor alias: {alias}")
        aliases.append(alias)
    return aliases or sorted(signature.outputs)


def _braces(names: Iterable[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"
