"""What an exported model offers, read without loading it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class ModelSignature(NamedTuple):
    """A signature of a SavedModel.

    Attributes:
        inputs: names, such as ``query``.
        widths: output name → last dimension; None where it is not fixed.
    """

    inputs: tuple[str, ...]
    widths: dict[str, int | None]


def read_signatures(model: str | Path) -> dict[str, ModelSignature]:
    """Signatures by name, of the ``serve`` graph; none if there is no SavedModel."""
    from tensorflow.core.protobuf import saved_model_pb2

    path = Path(model) / "saved_model.pb"
    if not path.is_file():
        return {}
    graph = saved_model_pb2.SavedModel.FromString(path.read_bytes()).meta_graphs[0]
    return {
        name: ModelSignature(
            tuple(sorted(definition.inputs)),
            {key: _width(info.tensor_shape) for key, info in definition.outputs.items()},
        )
        for name, definition in graph.signature_def.items()
        if definition.inputs  # the loader's own operations have none
    }


def _width(shape: object) -> int | None:
    sizes = [dimension.size for dimension in shape.dim]  # type: ignore[attr-defined]
    return sizes[-1] if sizes and sizes[-1] >= 0 else None
