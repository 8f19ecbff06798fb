"""Configuration of what systems with momentum encoders and queues of keys share.

Nothing here imports Keras.
"""

from __future__ import annotations

from pydantic import Field, PositiveFloat, PositiveInt

from vl_models.choices import WarmUp
from vl_models.models.base_config import ModelConfig


class MomentumContrastConfig(ModelConfig):
    """Options of momentum contrast.

    Attributes:
        momentum: m of the key towers, key ← m · key + (1 - m) · query.
        temperature: divides the cosines.
        queue_size: K, entries of each queue.
        warm_up: whether slots that nothing was written to yet are left out ("masked") or are
            random negatives ("random", as published).
        mask_known: whether entries that are known to fit a query are left out: those of its
            image, its text, or a known click. Published: False.
        virtual_devices: groups of each replica's batch that batch normalisation sees on their
            own, as if they were on as many devices; keys are shuffled over all groups. Acts only
            on image towers with batch normalisation.
    """

    momentum: float = Field(default=0.99, ge=0.0, le=1.0)
    temperature: PositiveFloat = 0.07
    queue_size: PositiveInt = 65536
    warm_up: WarmUp = "masked"
    mask_known: bool = True
    virtual_devices: PositiveInt = 1
