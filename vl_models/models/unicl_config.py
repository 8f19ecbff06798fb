"""Configuration of `UniCL`; nothing here imports Keras."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import PositiveFloat

from vl_models.models.clip_config import ContrastiveConfig


class UniCLConfig(ContrastiveConfig):
    """Configuration of `UniCL`.

    The initial temperature is that of the released model, whose log-scale starts at 1.
    """

    system: Literal["unicl"] = "unicl"
    initial_temperature: PositiveFloat = math.exp(-1.0)

    @property
    def labels_match(self) -> bool:
        """Rows of one label are positives of each other: what UniCL adds to CLIP."""
        return True
