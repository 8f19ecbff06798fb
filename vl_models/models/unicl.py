"""UniCL: contrast in image-text-label space; rows of one label are positives of each other.

Yang et al., "Unified Contrastive Learning in Image-Text-Label Space".
"""

from __future__ import annotations

from vl_models.models.clip import CLIP
from vl_models.models.unicl_config import UniCLConfig


class UniCL(CLIP):
    """The bidirectional loss of equation 3, as the mean of its two directions.

    A row with ``label_id`` -1 (a query, a caption) matches only itself and its known clicks;
    rows with a label match all rows of that label, in both directions. Labels come from
    sources with ``texts: labels``, whose texts are templates filled with class names.
    """

    config: UniCLConfig
