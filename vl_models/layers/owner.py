"""Layers of an object, found in its attributes: what holds a layer cannot forget to list it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import keras


@runtime_checkable
class HoldsLayers(Protocol):
    """An object that names its layers: a `LayerOwner`, or one that chooses them itself."""

    @property
    def layers(self) -> Sequence[keras.layers.Layer]:
        """Top-level layers, in a fixed order."""
        ...


class LayerOwner:
    """An object whose Keras layers are those in its attributes, in the order of assignment.

    Lists, tuples and dicts are searched, and so are objects that hold layers themselves. A layer
    that two attributes share counts once.
    """

    @property
    def layers(self) -> tuple[keras.layers.Layer, ...]:
        """Top-level Keras layers, each once."""
        return tuple(dict.fromkeys(_found(vars(self).values())))


def _found(values: Iterable[Any]) -> Iterator[keras.layers.Layer]:
    for value in values:
        if isinstance(value, keras.layers.Layer):
            yield value
        elif isinstance(value, HoldsLayers):
            yield from value.layers
        elif isinstance(value, Mapping):
            yield from _found(value.values())
        elif isinstance(value, list | tuple):
            yield from _found(value)
