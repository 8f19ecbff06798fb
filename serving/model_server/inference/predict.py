"""Predict, shared by gRPC and REST: the checks and texts of TensorFlow Serving's predict_util."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import numpy as np
from tensorflow_serving.apis import predict_pb2

from serving import tensors
from serving.errors import Code, ServingError, StatusError, invalid
from serving.model_server.inference.image_limits import check_images
from serving.model_server.inference.signatures import (
    CLASSIFY_METHOD,
    PREDICT_METHOD,
    REGRESS_METHOD,
    as_array,
    braces,
    fill_model_spec,
    signature_name,
)
from serving.model_server.models.model import Model
from serving.model_server.monitoring.metrics import record_runtime

_METHODS = (PREDICT_METHOD, CLASSIFY_METHOD, REGRESS_METHOD)


def run_predict(
    model: Model,
    version: int,
    request: predict_pb2.PredictRequest,
    *,
    deadline: float | None = None,
    as_tensor_content: bool = False,
    check_method_name: bool = False,
    max_image_pixels: int = 0,
) -> predict_pb2.PredictResponse:
    """Run the signature that `request` names on `model`.

    Args:
        model: what runs it.
        version: number of the model's version, for the answer.
        request: names the signature, and holds the inputs.
        deadline: seconds of `time.monotonic()` by which the answer is wanted.
        as_tensor_content: whether outputs are raw bytes (`tensor_content`) rather than typed
            fields (`float_val`, ...), which are TensorFlow Serving's default.
        check_method_name: whether the signature must have been exported for inference.
        max_image_pixels: of an image among the inputs; 0 is no limit.

    Raises:
        StatusError: FAILED_PRECONDITION, unknown signature; INVALID_ARGUMENT, wrong inputs or
            output filter; INTERNAL, a signature of another kind; or what the graph raised.
    """
    name = signature_name(request.model_spec)
    if name not in model.signatures:
        raise StatusError(Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
    signature = model.signatures[name]
    if check_method_name and signature.method_name not in _METHODS:
        raise StatusError(
            Code.INTERNAL,
            "Expected prediction signature method_name to be one of "
            f"{{{', '.join(_METHODS)}}}. Was: {signature.method_name}",
        )
    _check_input_count(signature, request)
    feeds = _feeds(signature, request)
    aliases = _output_aliases(signature, request.output_filter)
    fetches = [signature.outputs[alias].name for alias in aliases]
    if max_image_pixels:
        check_images({k: feeds[i.name] for k, i in signature.inputs.items()}, max_image_pixels)
    start = time.perf_counter()
    values = model.run(feeds, fetches, deadline=deadline)
    record_runtime(request.model_spec.name, "Predict", start)

    response = predict_pb2.PredictResponse()
    fill_model_spec(response.model_spec, request.model_spec, version)
    for alias, value in zip(aliases, values):
        try:
            tensors.encode(
                as_array(value), response.outputs[alias], typed_fields=not as_tensor_content
            )
        except ServingError as error:
            raise StatusError(Code.UNIMPLEMENTED, f"Output {alias}: {error}") from error
    return response


def _check_input_count(signature: Any, request: predict_pb2.PredictRequest) -> None:
    sent, known = set(request.inputs), set(signature.inputs)
    if len(sent) == len(known) or (len(sent) < len(known) and signature.defaults):
        return
    raise invalid(
        f"input size does not match signature: {len(sent)}!={len(known)} len({braces(sent)}) != "
        f"len({braces(known)}). Sent extra: {braces(sent - known)}. "
        f"Missing but required: {braces(known - sent)}.",
    )


def _feeds(signature: Any, request: predict_pb2.PredictRequest) -> dict[str, np.ndarray]:
    """Values by tensor name; the texts are those of tensorflow/cc/saved_model/util.cc."""
    feeds = {}
    for alias, info in sorted(signature.inputs.items()):
        if alias in request.inputs:
            proto = request.inputs[alias]
        elif alias in signature.defaults:
            proto = signature.defaults[alias]
        else:
            raise invalid(
                f"Signature input alias: {alias}(feed name: {info.name}) not found in request and "
                "no default value provided. Inputs expected to be in the request "
                f"{braces(request.inputs)}, or default input alias set: "
                f"{','.join(sorted(signature.defaults))}",
            )
        try:
            feeds[info.name] = tensors.decode(proto)
        except ServingError as error:
            raise invalid(f"tensor parsing error: {alias}") from error
    used = set(request.inputs) & set(signature.inputs)
    if len(used) != len(request.inputs):
        raise invalid(
            f"Inputs contains invalid name. Used request inputs: {','.join(sorted(used))}, "
            f"request input: {','.join(sorted(request.inputs))}",
        )
    return feeds


def _output_aliases(signature: Any, output_filter: Iterable[str]) -> list[str]:
    aliases: list[str] = []
    for alias in output_filter:
        if alias not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {alias} "
                f"Outputs expected to be in the set {braces(signature.outputs)}.",
            )
        if alias in aliases:
            raise invalid(f"duplicate output tensor alias: {alias}")
        aliases.append(alias)
    return aliases or sorted(signature.outputs)
