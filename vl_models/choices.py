"""Names that configurations choose by; nothing here imports Keras or TensorFlow."""

from typing import Literal

# What a known click beside the pairs is, see `vl_models.losses.contrastive`.
PositivesMode = Literal["uniform", "hide", "pairs", "graph"]
# How a batch is put together over replicas, see `vl_models.losses.gathered`.
GatherForm = Literal["global", "local", "detached"]
# What an unfilled slot of a queue is, see `vl_models.layers.feature_queue`.
WarmUp = Literal["masked", "random"]
# How texts are cut into tokens, see `vl_models.text.factory`.
TokenizerKind = Literal["wordpiece", "clip_bpe"]
# How an image comes into the model's square, see `vl_models.input.images`.
ImageFit = Literal["crop", "pad"]

ResizeKind = Literal["grid", "sequence", "relative_grid", "relative_sequence"]
