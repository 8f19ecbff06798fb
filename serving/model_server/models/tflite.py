"""`model.tflite` of a version, run by TensorFlow Lite's interpreter instead of a session."""

from __future__ import annotations

import queue
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from flatbuffers import flexbuffers
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.python.interpreter import Interpreter

from serving.errors import Code, StatusError, invalid
from serving.model_server.models.model import DEFAULT_SIGNATURE

TFLITE_FILE = "model.tflite"

_METADATA = b"signature_defs_metadata"
_IDENTIFIER = b"TFL3"

# TensorFlow recommends another package at each construction; this one carries the interpreter.
warnings.filterwarnings("ignore", message=".*tf.lite.Interpreter is deprecated.*")


class TFLiteModel:
    """Interpreters of one `model.tflite`; safe to run from several threads.

    An interpreter runs one request at a time. There are up to `interpreters` of them, made when
    they are first needed; the weights are in memory once.

    Attributes:
        signatures: SignatureDef by name: those in the file's metadata, else `serving_default` with
            the names of the tensors.
    """

    def __init__(self, content: bytes, interpreters: int):
        self._content = content
        first = self._interpreter()
        self.signatures = _signatures(content, first)
        # The last one that was returned is the first to be taken: it often has the right shapes.
        self._pool: queue.LifoQueue[_Interpreter | None] = queue.LifoQueue()
        for _ in range(interpreters - 1):
            self._pool.put(None)
        self._pool.put(first)

    @classmethod
    def load(
        cls, folder: str | Path, num_pools: int = 1, num_interpreters_per_pool: int = 1
    ) -> TFLiteModel:
        """Load `model.tflite` in `folder`, to be run by up to pools x interpreters at once.

        Raises:
            StatusError: no such file, no TensorFlow Lite model, or operators that TensorFlow's
                interpreter does not have.
        """
        path = Path(folder) / TFLITE_FILE
        try:
            content = path.read_bytes()
        except OSError as error:
            raise StatusError(Code.NOT_FOUND, f"{path}; {error.strerror}") from error
        if content[4:8] != _IDENTIFIER:
            raise invalid(f"Cannot build FlatBufferModel from buffer: {path}")
        return cls(content, max(1, num_pools) * max(1, num_interpreters_per_pool))

    def run(
        self,
        feeds: Mapping[str, np.ndarray],
        fetches: Sequence[str],
        deadline: float | None = None,
    ) -> list[np.ndarray]:
        """Values of the tensors named `fetches`, with `feeds` by tensor name.

        Args:
            feeds: arrays by tensor name.
            fetches: tensor names.
            deadline: seconds of `time.monotonic()` by which the answer is wanted; it bounds the
                wait for a free interpreter.

        Raises:
            StatusError: INVALID_ARGUMENT, a value that does not fit; DEADLINE_EXCEEDED, no
                interpreter was free in time; INTERNAL, the interpreter failed.
        """
        timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            interpreter = self._pool.get(timeout=timeout)
        except queue.Empty:
            raise StatusError(
                Code.DEADLINE_EXCEEDED, "Timed out waiting for a free TFLite interpreter"
            ) from None
        try:
            interpreter = interpreter or self._interpreter()
            return interpreter.run(feeds, fetches)
        except BaseException:
            # Half-resized tensors: a new one takes its place.
            interpreter = None
            raise
        finally:
            self._pool.put(interpreter)

    def close(self) -> None:
        """Frees the interpreters; nothing may run them afterwards."""
        self._pool = queue.LifoQueue()
        self._content = b""

    def _interpreter(self) -> _Interpreter:
        return _Interpreter(self._content)


class _Interpreter:
    """One interpreter with its tensors by name."""

    def __init__(self, content: bytes):
        try:
            # Requests run in parallel, each in one thread.
            self._interpreter = Interpreter(model_content=content, num_threads=1)
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise StatusError(
                Code.INTERNAL, f"Cannot build Interpreter from buffer. {error}"
            ) from error
        self.inputs = {d["name"]: d for d in self._interpreter.get_input_details()}
        self.outputs = {d["name"]: d for d in self._interpreter.get_output_details()}
        self._shapes = {name: tuple(d["shape"]) for name, d in self.inputs.items()}

    def run(self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str]) -> list[np.ndarray]:
        """Feed, runs, fetches."""
        values = {known_name(self.inputs, name): value for name, value in feeds.items()}
        outputs = [self.outputs[known_name(self.outputs, name)]["index"] for name in fetches]
        try:
            self._resize(values)
            for name, value in values.items():
                self._interpreter.set_tensor(self.inputs[name]["index"], value)
        except (RuntimeError, ValueError) as error:
            raise invalid(str(error)) from error
        try:
            self._interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            raise StatusError(
                Code.INTERNAL, f"Failed to invoke TfLite interpreter: {error}"
            ) from error
        return [self._interpreter.get_tensor(index) for index in outputs]

    def _resize(self, values: Mapping[str, np.ndarray]) -> None:
        changed = {n: v.shape for n, v in values.items() if v.shape != self._shapes[n]}
        for name, shape in changed.items():
            self._interpreter.resize_tensor_input(self.inputs[name]["index"], shape)
        if changed:
            self._interpreter.allocate_tensors()
            self._shapes.update(changed)


def known_name(tensors: Mapping[str, Any], name: str) -> str:
    """`name`, or what it was called before converters kept the suffix `:0`.

    Raises:
        StatusError: INTERNAL, no such tensor.
    """
    for candidate in (name, name.partition(":")[0]):
        if candidate in tensors:
            return candidate
    raise StatusError(Code.INTERNAL, f"Unknown tensor '{name}'.")


def _signatures(
    content: bytes, interpreter: _Interpreter
) -> dict[str, meta_graph_pb2.SignatureDef]:
    signatures = _stored_signatures(content)
    for name, signature in signatures.items():
        for kind, infos, tensors in (
            ("input", signature.inputs, interpreter.inputs),
            ("output", signature.outputs, interpreter.outputs),
        ):
            for alias, info in infos.items():
                try:
                    info.name = known_name(tensors, info.name)
                except StatusError as error:
                    raise StatusError(
                        error.code,
                        f"{error.message} Signature {name}: {kind} {alias} references an unknown "
                        "tensor",
                    ) from error
    return signatures or {DEFAULT_SIGNATURE: _generated_signature(interpreter)}


def _stored_signatures(content: bytes) -> dict[str, meta_graph_pb2.SignatureDef]:
    """SignatureDefs in the metadata (tensorflow/lite/tools/signature/signature_def_util.h).

    The buffer is a FlexBuffer map from key to serialised SignatureDef.
    """
    model = schema.Model.GetRootAs(content, 0)
    for i in range(model.MetadataLength()):
        metadata = model.Metadata(i)
        if metadata.Name() == _METADATA:
            buffer = model.Buffers(metadata.Buffer()).DataAsNumpy().tobytes()
            items = flexbuffers.GetRoot(buffer).AsMap
            return {
                key.AsKey: meta_graph_pb2.SignatureDef.FromString(_string_bytes(value))
                for key, value in zip(items.Keys, items.Values)
            }
    return {}


def _string_bytes(value: Any) -> bytes:
    return bytes(value.AsBlob if value.IsBlob else value.AsStringBytes)


def _generated_signature(interpreter: _Interpreter) -> meta_graph_pb2.SignatureDef:
    signature = meta_graph_pb2.SignatureDef(method_name="tensorflow/serving/predict")
    for infos, tensors in (
        (signature.inputs, interpreter.inputs),
        (signature.outputs, interpreter.outputs),
    ):
        for name, detail in tensors.items():
            info = infos[name.partition(":")[0]]
            info.name = name
            info.dtype = tf.as_dtype(detail["dtype"]).as_datatype_enum
            for size in detail["shape"]:
                info.tensor_shape.dim.add(size=int(size))
    return signature
