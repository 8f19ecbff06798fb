"""The models that a server is to serve, as `reload_config` takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import text_format

from serving.errors import ServingError


@dataclass(frozen=True)
class ServedModelConfig:
    """One model of a server's configuration.

    Attributes:
        name: under which it is served.
        base_path: absolute path, on the server, of the folder with its versions.
        versions: those to serve, "all", or None for the latest.
        version_labels: label -> version.
        model_platform: what runs it; TensorFlow Serving knows "tensorflow" alone.
    """

    name: str
    base_path: str
    versions: Sequence[int] | str | None = None
    version_labels: Mapping[str, int] = field(default_factory=dict)
    model_platform: str = "tensorflow"


def fill_model_server_config(message: Any, models: str | Sequence[ServedModelConfig]) -> None:
    """Write a ModelServerConfig.

    Args:
        message: an empty ModelServerConfig.
        models: dataclasses, or the text of a models.config.

    Raises:
        ServingError: text in another format, or versions that are none.
    """
    if isinstance(models, str):
        try:
            text_format.Parse(models, message)
        except text_format.ParseError as error:
            raise ServingError(f"The text is no ModelServerConfig: {error}.") from error
        return
    if isinstance(models, bytes) or not hasattr(models, "__iter__"):
        raise ServingError(
            "models is a list of ServedModelConfig, or the text of a models.config. "
            f"Received: {type(models).__name__}."
        )
    # An empty list is one, too: it unloads everything.
    message.model_config_list.SetInParent()
    for model in models:
        _fill_model_config(message.model_config_list.config.add(), model)


def _fill_model_config(message: Any, model: ServedModelConfig) -> None:
    message.name = model.name
    message.base_path = str(model.base_path)
    message.model_platform = model.model_platform
    message.version_labels.update(model.version_labels)
    if model.versions is None:
        return
    policy = message.model_version_policy
    if model.versions == "all":
        policy.all.SetInParent()
    elif isinstance(model.versions, str) or not model.versions:
        raise ServingError(
            f"versions of model {model.name} are numbers, 'all', or None for the latest. "
            f"Received: {model.versions!r}."
        )
    else:
        policy.specific.versions.extend(model.versions)
