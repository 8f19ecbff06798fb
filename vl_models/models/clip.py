"""CLIP: two towers, one cosine, a symmetric contrastive loss on the global batch.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision".
"""

from __future__ import annotations

from typing import Literal

from vl_models.models.contrastive import ContrastiveConfig, ContrastiveDualEncoder


class CLIPConfig(ContrastiveConfig):
    """Configuration of `CLIP`; as published with ``positives: pairs``."""

    system: Literal["clip"] = "clip"


class CLIP(ContrastiveDualEncoder):
    """The loss of section 2.3: mean of the cross-entropies of images over texts and back."""

    config: CLIPConfig
