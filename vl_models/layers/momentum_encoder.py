"""A slow copy of a tower: the exponential moving average of its weights."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import keras
import tensorflow as tf

from vl_models.distribution import update_copies

_PREFIX = "momentum_"


class MomentumEncoder:
    """Momentum copies of the layers of a query tower, which follow it and are never trained.

    The copy of layer ``image_encoder`` is a layer ``momentum_image_encoder``, with the same
    variables under the same names. Trainable parameters are averaged; batch statistics are the
    copy's own, since it runs in training mode too. Give its outputs a stop_gradient.
    Source: He et al., "Momentum Contrast for Unsupervised Visual Representation Learning",
    equation 2.

    Args:
        queries: layers of the query tower, with explicit names.
        momentum: m in key ← m · key + (1 - m) · query, in [0, 1].

    Attributes:
        layers: the copies, in the order of ``queries``; empty before `build`.
    """

    def __init__(self, queries: Sequence[keras.layers.Layer], momentum: float) -> None:
        if not 0.0 <= momentum <= 1.0:
            raise ValueError(f"`momentum` must lie in [0, 1]. Received: momentum={momentum}")
        self.momentum = momentum
        self._queries = tuple(queries)
        self.layers: tuple[keras.layers.Layer, ...] = ()

    def build(self) -> None:
        """Create the copies with the weights of the queries, which must be built; once."""
        if self.layers:
            return
        copies = []
        for query in self._queries:
            config = {**query.get_config(), "name": _PREFIX + query.name}
            copy = type(query).from_config(config)
            if not copy.built:
                copy.build_from_config(query.get_build_config())
            copies.append(copy)
        self.layers = tuple(copies)
        for query, key in self._pairs():
            key.assign(tf.convert_to_tensor(query))
        for layer in self.layers:
            layer.released = False  # see vl_models.weights.released
            # Not `layer.trainable`, which would put batch normalisation into inference mode.
            for variable in layer.variables:
                variable.trainable = False

    def update(self) -> None:
        """Move the copies' parameters towards the queries', in replica context or out of it."""
        for query, key in self._pairs():
            if query.trainable:
                update_copies(key.value, self._step, tf.convert_to_tensor(query))

    def synchronise(self, loaded: Collection[str]) -> None:
        """Copy queries that got new values, unless their copies did too.

        Args:
            loaded: paths of the variables that got new values.
        """
        for query, key in self._pairs():
            if query.path in loaded and key.path not in loaded:
                key.assign(tf.convert_to_tensor(query))

    def _step(self, key: tf.Variable, query: tf.Tensor) -> None:
        # As a difference: equal weights stay equal bit by bit.
        key.assign_sub((1.0 - self.momentum) * (key - query))

    def _pairs(self) -> Iterator[tuple[keras.Variable, keras.Variable]]:
        """Parameters and batch statistics of both; not the counters of random generators."""
        for query, key in zip(self._queries, self.layers, strict=True):
            for one, other in zip(query.variables, key.variables, strict=True):
                if keras.backend.is_float_dtype(one.dtype):
                    yield one, other
