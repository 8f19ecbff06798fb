"""The models that a server is to serve, as `reload_config` takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import text_format

from serving import arguments
from serving.errors import ServingError

_INT64_MAX = 2**63 - 1


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
    if not isinstance(model, ServedModelConfig):
        raise ServingError(
            f"models is a list of ServedModelConfig. Received one {type(model).__name__}."
        )
    message.name = arguments.name_of("The name of a model", model.name)
    message.base_path = arguments.name_of("base_path", str(model.base_path))
    message.model_platform = arguments.name_of("model_platform", model.model_platform)
    for label, version in model.version_labels.items():
        arguments.name_of("A label of versions", label)
        message.version_labels[label] = _version(version)
    if model.versions is None:
        return
    policy = message.model_version_policy
    if model.versions == "all":
        policy.all.SetInParent()
    elif isinstance(model.versions, str | int) or len(model.versions) == 0:
        raise ServingError(
            f"versions of model {model.name} are numbers, 'all', or None for the latest. "
            f"Received: {model.versions!r}."
        )
    else:
        policy.specific.versions.extend(map(_version, model.versions))


def _version(value: Any) -> int:
    return arguments.whole_number("version", value, least=0, most=_INT64_MAX)
