"""UniCL: contrast in image-text-label space; rows of one label are positives of each other.

Yang et al., "Unified Contrastive Learning in Image-Text-Label Space".
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import PositiveFloat

from vl_models.models.contrastive import ContrastiveConfig, ContrastiveDualEncoder


class UniCLConfig(ContrastiveConfig):
    """Configuration of `UniCL`.

    The initial temperature is that of the released model, whose log-scale starts at 1.
    """

    system: Literal["unicl"] = "unicl"
    initial_temperature: PositiveFloat = math.exp(-1.0)


class UniCL(ContrastiveDualEncoder):
    """The bidirectional loss of equation 3, as the mean of its two directions.

    A row with ``label_id`` -1 (a query, a caption) matches only itself and its known clicks;
    rows with a label match all rows of that label, in both directions. Labels come from
    sources with ``texts: labels``, whose texts are templates filled with class names.
    """

    config: UniCLConfig
    LABELS_MATCH = True
