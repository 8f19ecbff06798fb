"""What a loaded model can do, however it is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

DEFAULT_SIGNATURE = "serving_default"


class Model(Protocol):
    """A loaded version; safe to run from several threads."""

    @property
    def signatures(self) -> Mapping[str, Any]:
        """SignatureDef by name."""

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
            deadline: seconds of `time.monotonic()` by which the answer is wanted.

        Raises:
            StatusError: with the code and text of what failed.
        """

    def close(self) -> None:
        """Frees what it holds; nothing may run it afterwards."""
