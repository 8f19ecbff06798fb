"""Configuration of systems that hash; nothing here imports Keras."""

from __future__ import annotations

from pydantic import PositiveInt, field_validator

from vl_models.models.base_config import ModelConfig


class HashingConfig(ModelConfig):
    """What the configurations of systems with binary codes share.

    Attributes:
        embedding_dim: c, bits of the codes; a multiple of 8.
    """

    embedding_dim: PositiveInt = 64

    @field_validator("embedding_dim")
    @classmethod
    def _whole_bytes(cls, bits: int) -> int:
        if bits % 8:
            raise ValueError("bits of a hash code come in bytes: a multiple of 8")
        return bits
