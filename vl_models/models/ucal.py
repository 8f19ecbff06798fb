"""UCAL: pairs drawn together, modalities made indistinguishable; no labels.

He et al., "Unsupervised Cross-Modal Retrieval through Adversarial Learning". No code of the
authors is public; weights, widths and learning rate are those of ACMR's released code, which
says that it comes from UCAL's.
"""

from __future__ import annotations

from typing import Literal

import tensorflow as tf
from pydantic import NonNegativeFloat

from vl_models.distribution import global_mean, global_sum
from vl_models.losses.distances import root, squared_distances
from vl_models.models.base import Batch, Outputs
from vl_models.models.common_space import CommonSpace, CommonSpaceConfig, paired_vectors
from vl_models.tasks.factory import TaskConfig
from vl_models.tasks.modality_adversary import ModalityAdversaryConfig


class UCALConfig(CommonSpaceConfig):
    """Configuration of `UCAL`.

    Attributes:
      system: "ucal".
      pair_weight: of the correlation term; the code's 100.
      pair_distance: "frobenius": norm of all differences of the batch, as in the vector, so its
        gradient does not depend on the batch's size; "mean_square": mean over pairs of their
        squared distance.
      tasks: the modality adversary, with the code's weight of 0.05.
    """

    system: Literal["ucal"] = "ucal"
    pair_weight: NonNegativeFloat = 100.0
    pair_distance: Literal["frobenius", "mean_square"] = "frobenius"
    tasks: tuple[TaskConfig, ...] = (ModalityAdversaryConfig(weight=0.05),)


class UCAL(CommonSpace):
    """Distance of paired vectors, against a modality classifier behind a gradient reversal."""

    config: UCALConfig

    def system_losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
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
