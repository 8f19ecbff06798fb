"""What the calls of a client return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class VersionStatus:
    """State of one version of a model, as the server reports it."""

    version: int
    state: str
    error: str = ""


class ClassScore(NamedTuple):
    """One class of an example; a signature without labels or without scores leaves "" or 0."""

    label: str
    score: float


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of a signature.

    Attributes:
        dtype: NumPy's name of it, or `string`; `DataType N` for one that NumPy has not.
        shape: None stands for a size that may vary, and for the whole shape where the rank may.
    """

    dtype: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class SignatureInfo:
    """Inputs and outputs of a signature by name."""

    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]
    method_name: str


@dataclass(frozen=True)
class ModelMetadata:
    """The signatures of a model by name, and the version that they are of."""

    name: str
    version: int
    signatures: Mapping[str, SignatureInfo]
