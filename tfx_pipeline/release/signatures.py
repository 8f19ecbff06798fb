"""What an exported tower offers, read without loading it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class TowerSignature(NamedTuple):
    """A signature of one string input.

    Attributes:
      input_name: for example ``query``.
      widths: output name → last dimension; None where it is not fixed.
    """

    input_name: str
    widths: dict[str, int | None]


def read_signatures(tower: str | Path) -> dict[str, TowerSignature]:
    """Signatures by name, of the ``serve`` graph; none if there is no SavedModel."""
    from tensorflow.core.protobuf import saved_model_pb2

    path = Path(tower) / "saved_model.pb"
    if not path.is_file():
        return {}
    graph = saved_model_pb2.SavedModel.FromString(path.read_bytes()).meta_graphs[0]
    return {
        name: TowerSignature(
            next(iter(definition.inputs)),
            {key: _width(info.tensor_shape) for key, info in definition.outputs.items()},
        )
        for name, definition in graph.signature_def.items()
        if len(definition.inputs) == 1
    }


def _width(shape: object) -> int | None:
    sizes = [dimension.size for dimension in shape.dim]  # type: ignore[attr-defined]
    return sizes[-1] if sizes and sizes[-1] >= 0 else None
