"""The plain loss of two towers: pairs near each other, all others a margin away."""

from __future__ import annotations

import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.distribution import all_gather, global_mean
from vl_models.losses.distances import pairwise_distances
from vl_models.losses.positives import PairHashes, known_positives
from vl_models.tasks.base import Task, vectors
from vl_models.tasks.config import PairMarginConfig


class PairMargin(Task):
    """Mean of d² over positive pairs plus mean of max(0, m - d)² over negative ones.

    All texts of the global batch are compared with all its images; known clicks are positives.
    Source: Hadsell et al., "Dimensionality Reduction by Learning an Invariant Mapping",
    equation 4, without its halves.
    """

    config: PairMarginConfig

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """``pair_margin``; nothing if a modality is absent."""
        image, text = vectors(outputs)
        if image is None or text is None:
            return {}
        own = PairHashes.of_batch(batch, image.shape[0], text.shape[0])
        positive = tf.cast(known_positives(own, own.gathered()), tf.float32)
        distance = pairwise_distances(image, all_gather(text))
        near = global_mean(tf.square(distance), positive)
        far = global_mean(tf.square(tf.nn.relu(self.config.margin - distance)), 1.0 - positive)
        return {"pair_margin": self.config.weight * (near + far)}
