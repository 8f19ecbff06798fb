"""The configuration of a layer, read from its constructor's signature, and its registration."""

from __future__ import annotations

import inspect
from typing import Any

import keras

# What every layer takes, and Keras puts into the configuration itself.
_KERAS = inspect.signature(keras.layers.Layer.__init__).parameters


class ConfiguredLayer(keras.layers.Layer):
    """A layer that Keras can save: it keeps each constructor argument in an attribute of its name.

    Keras can collect the arguments of a layer by itself, but not those of a layer that was given
    an initializer or a dtype policy, as most here are.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        keras.saving.register_keras_serializable("vlsearch")(cls)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor arguments."""
        parameters = inspect.signature(self.__init__).parameters.values()  # type: ignore[misc]
        arguments = {
            parameter.name: _serialized(getattr(self, parameter.name))
            for parameter in parameters
            if parameter.kind is not parameter.VAR_KEYWORD and parameter.name not in _KERAS
        }
        return {**super().get_config(), **arguments}


def _serialized(value: Any) -> Any:
    if isinstance(value, keras.initializers.Initializer):
        return keras.initializers.serialize(value)
    return list(value) if isinstance(value, tuple) else value
