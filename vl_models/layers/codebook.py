"""A codebook that follows what it quantises by moving averages, not by gradients.

van den Oord, Vinyals & Kavukcuoglu, "Neural Discrete Representation Learning" (VQ-VAE), section 3
and appendix A.1; Razavi, van den Oord & Vinyals, "Generating Diverse High-Fidelity Images with
VQ-VAE-2"; Huang et al., "Seeing Out of tHe bOx" (SOHO), section 3.2.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from vl_models.distribution import all_gather, global_sum, update_copies
from vl_models.layers.configured import ConfiguredLayer
from vl_models.layers.state import add_state
from vl_models.row_random import draw_uniform

_EPSILON = 1e-5


class Codebook(ConfiguredLayer):
    """Replaces each vector by the nearest of K codes; the gradient passes as if it had not.

    A training step counts the vectors of each code and sums them up over all replicas, moves the
    averages ``counts`` and ``sums`` towards these, and sets each code to the quotient of both,
    whose denominator is smoothed (Laplace): ``(N + ε) / (ΣN + K ε) · ΣN``, ε = 1e-5. As both
    start at zero, a code is the mean of its vectors after its first step.

    All state is float32 variables that no optimiser sees and checkpoints hold: ``codes`` [K, D],
    ``counts`` [K] and ``sums`` [K, D].

    SOHO's released dictionary is ``decay=0.4, keep_unused=False, look_up_updated=True``.

    Args:
        size: K, number of codes.
        dim: D, width of a code.
        decay: γ of the moving averages, in [0, 1).
        keep_unused: whether codes without vectors stay what they are. Otherwise a code that has
            never been used becomes the zero vector in the first step, as in SOHO's release.
        look_up_updated: whether a training step returns the codes as they are after its update
            (SOHO) or before it (VQ-VAE). The nearest code is found before it in any case.
        restart_below: codes with a smaller moving average of vectors per step begin anew at a
            vector of the batch, at most one per row and step; 0 is never. Source: Dhariwal et
            al., "Jukebox: A Generative Model for Music", section 3.1 (random restarts).
        stddev: of the normal distribution that the codes are drawn from.

    Raises:
        ValueError: a decay outside [0, 1).
    """

    def __init__(
        self,
        size: int,
        dim: int,
        decay: float = 0.99,
        keep_unused: bool = True,
        look_up_updated: bool = False,
        restart_below: float = 0.0,
        stddev: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"`decay` must lie in [0, 1). Received: decay={decay}")
        self.size = size
        self.dim = dim
        self.decay = decay
        self.keep_unused = keep_unused
        self.look_up_updated = look_up_updated
        self.restart_below = restart_below
        self.stddev = stddev

    def build(self, input_shape: Any = None) -> None:
        """Create the state."""
        drawn = keras.initializers.RandomNormal(stddev=self.stddev)
        self.codes = add_state(self, "codes", (self.size, self.dim), drawn, "float32")
        self.counts = add_state(self, "counts", (self.size,), "zeros", "float32")
        self.sums = add_state(self, "sums", (self.size, self.dim), "zeros", "float32")

    def call(
        self, features: Any, valid: Any = None, seeds: Any = None, training: bool = False
    ) -> dict[str, Any]:
        """Quantise, and in training follow the features, in replica context.

        Args:
            features: [B, ..., D].
            valid: bool [B, ...], False for what the codes are not to follow, such as padding; it
                is quantised nevertheless.
            seeds: int32 [B, 2] of the rows, by which codes are restarted.
            training: whether the codes are updated.

        Returns:
            ``codes`` int32 [B, ...], number of the nearest code; ``quantized`` float32
            [B, ..., D], that code, whose gradient goes to the features unchanged; ``table``
            float32 [K, D], the codes that were looked up, without gradient.

        Raises:
            ValueError: codes are to be restarted, but no seeds are given.
        """
        features = tf.cast(features, tf.float32)
        nearest, codes = self.nearest(features), tf.convert_to_tensor(self.codes)
        if training:
            updated = self._update(tf.stop_gradient(features), nearest, valid, seeds)
            codes = updated if self.look_up_updated else codes
        quantized = tf.gather(codes, nearest)
        return {
            "codes": nearest,
            "quantized": features + tf.stop_gradient(quantized - features),
            "table": tf.stop_gradient(codes),
        }

    def nearest(self, features: Any) -> tf.Tensor:
        """Return the number of the code at the smallest Euclidean distance.

        Args:
            features: [..., D].

        Returns:
            int32 [...]; of equally near codes the first.
        """
        codes = tf.convert_to_tensor(self.codes)
        flat = tf.reshape(tf.cast(features, tf.float32), [-1, self.dim])
        # Without the squares of the features, which are the same for all codes.
        distance = tf.reduce_sum(tf.square(codes), axis=1)
        distance -= 2.0 * tf.matmul(flat, codes, transpose_b=True)
        nearest = tf.argmin(distance, axis=1, output_type=tf.int32)
        return tf.reshape(nearest, tf.shape(features)[:-1])

    def look_up(self, codes: tf.Tensor) -> tf.Tensor:
        """Return the codes of these numbers: int32 [...] to float32 [..., D]."""
        return tf.gather(tf.convert_to_tensor(self.codes), codes)

    def scalars(self) -> dict[str, tf.Tensor]:
        """For the log: ``<name>/perplexity`` and ``<name>/used_share``, float32 scalars.

        Both are of the moving average of the counts: how many equally frequent codes would be as
        hard to guess, and the share of codes with at least 1 / 100 of the mean count.
        """
        counts = tf.convert_to_tensor(self.counts)
        used = counts > 0.01 * tf.reduce_mean(counts)
        return {
            f"{self.name}/perplexity": perplexity(counts),
            f"{self.name}/used_share": tf.reduce_mean(tf.cast(used, tf.float32)),
        }

    def _update(self, features: tf.Tensor, nearest: tf.Tensor, valid: Any, seeds: Any) -> tf.Tensor:
        """Move averages and codes; return the new codes, equal on all replicas."""
        flat = tf.reshape(features, [-1, self.dim])
        weight = tf.ones_like(flat[:, 0])
        if valid is not None:
            weight *= tf.reshape(tf.cast(valid, tf.float32), [-1])

        def total_of_codes(values: tf.Tensor) -> tf.Tensor:
            segments = tf.reshape(nearest, [-1])
            return global_sum(tf.math.unsorted_segment_sum(values, segments, self.size))

        counts = self._averaged(self.counts, total_of_codes(weight))
        sums = self._averaged(self.sums, total_of_codes(weight[:, None] * flat))
        total = tf.reduce_sum(counts)
        smoothed = (counts + _EPSILON) / (total + self.size * _EPSILON) * total
        codes = tf.math.divide_no_nan(sums, smoothed[:, None])
        if self.keep_unused:
            kept = counts < _EPSILON
            codes = tf.where(kept[:, None], tf.convert_to_tensor(self.codes), codes)
        if self.restart_below > 0.0:
            restarted, vectors = self._restarts(features, valid, seeds, counts)
            codes = tf.where(restarted[:, None], vectors, codes)
            counts = tf.where(restarted, self.restart_below, counts)
            sums = tf.where(restarted[:, None], self.restart_below * vectors, sums)
        for variable, value in ((self.codes, codes), (self.counts, counts), (self.sums, sums)):
            update_copies(variable.value, lambda copy, new: copy.assign(new), value)
        return codes

    def _averaged(self, average: Any, new: tf.Tensor) -> tf.Tensor:
        return self.decay * tf.convert_to_tensor(average) + (1.0 - self.decay) * new

    def _restarts(
        self, features: tf.Tensor, valid: Any, seeds: Any, counts: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Which codes begin anew, bool [K], and where, float32 [K, D].

        Each row of the global batch offers one of its vectors; rows are taken in random order.
        """
        if seeds is None:
            raise ValueError("Codes are restarted by the rows' `seeds`. Received: seeds=None")
        rows = tf.shape(features)[0]
        vectors = tf.reshape(features, [rows, -1, self.dim])
        order, place = tf.unstack(draw_uniform(seeds, 2), axis=1)
        valid = tf.ones(tf.shape(vectors)[:2]) if valid is None else tf.reshape(valid, [rows, -1])
        before = tf.cumsum(tf.cast(valid, tf.float32), axis=1)
        has_any = before[:, -1] > 0.0
        # The vector at the drawn share of those that count.
        chosen = tf.math.count_nonzero(before <= place[:, None] * before[:, -1:], axis=1)
        chosen = tf.where(has_any, chosen, 0)
        offered = all_gather(tf.gather(vectors, chosen, batch_dims=1))
        # Rows without a vector come last, and are not taken.
        order = all_gather(tf.where(has_any, order, 2.0))
        offered = tf.gather(offered, tf.argsort(order))
        available = tf.math.count_nonzero(order < 1.0, dtype=tf.int32)
        wanted = counts < self.restart_below
        number = tf.cumsum(tf.cast(wanted, tf.int32)) - 1
        restarted = wanted & (number < available)
        return restarted, tf.gather(offered, tf.where(restarted, number, 0))


def perplexity(counts: tf.Tensor) -> tf.Tensor:
    """exp(-Σ p ln p) of frequencies: K where all K are equal, 1 where there is one alone.

    Args:
        counts: float [K], not negative.

    Returns:
        float32 scalar.
    """
    share = tf.math.divide_no_nan(counts, tf.reduce_sum(counts))
    return tf.exp(-tf.reduce_sum(tf.math.multiply_no_nan(tf.math.log(share), share)))
