"""UCAL: pairs drawn together, modalities made indistinguishable; no labels.

He et al., "Unsupervised Cross-Modal Retrieval through Adversarial Learning". No code of the
authors is public; weights, widths and learning rate are those of ACMR's released code, which
says that it comes from UCAL's.
"""

from __future__ import annotations

import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.distribution import global_mean, global_sum
from vl_models.losses.distances import root, squared_distances
from vl_models.models.common_space import CommonSpace, paired_vectors
from vl_models.models.ucal_config import UCALConfig


class UCAL(CommonSpace):
    """Distance of paired vectors, against a modality classifier behind a gradient reversal."""

    config: UCALConfig

    def own_losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """``pair_distance``; nothing if a modality is absent."""
        pairs = paired_vectors(outputs)
        if pairs is None:
            return {}
        squares = squared_distances(*pairs)
        if self.config.pair_distance == "frobenius":
            distance = root(global_sum(tf.reduce_sum(squares)))
        else:
            distance = global_mean(squares)
        return {"pair_distance": self.config.pair_weight * distance}
