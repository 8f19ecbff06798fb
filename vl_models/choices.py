"""Names that configurations choose by, of losses and layers; nothing here imports Keras."""

from typing import Literal

# What a known click beside the pairs is, see `vl_models.losses.contrastive`.
PositivesMode = Literal["uniform", "hide", "pairs"]
# How a batch is put together over replicas, see `vl_models.losses.gathered`.
GatherForm = Literal["global", "local", "detached"]
# What an unfilled slot of a queue is, see `vl_models.layers.feature_queue`.
WarmUp = Literal["masked", "random"]
