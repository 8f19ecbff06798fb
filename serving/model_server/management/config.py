"""`models.config`: reading and checking a ModelServerConfig text proto."""

from __future__ import annotations

from pathlib import Path

from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelServerConfig

from serving.errors import Code, StatusError, invalid
from serving.model_server.models.storage import is_absolute
from serving.model_server.text_proto import read_text_proto

_PLATFORM = "tensorflow"


def read_config(path: str | Path) -> ModelServerConfig:
    """Parse the text proto in `path`.

    Raises:
        StatusError: no such file, or `Invalid protobuf file`; the log says what is wrong in it.
    """
    return read_text_proto(path, ModelServerConfig())


def single_model_config(name: str, base_path: str) -> ModelServerConfig:
    """Return the configuration that `--model_name` and `--model_base_path` stand for."""
    config = ModelServerConfig()
    config.model_config_list.config.add(name=name, base_path=base_path, model_platform=_PLATFORM)
    return config


def check_config(new: ModelServerConfig, old: ModelServerConfig | None = None) -> None:
    """Check a configuration, and the transition from `old`, in TensorFlow Serving's words.

    Raises:
        StatusError: INVALID_ARGUMENT or FAILED_PRECONDITION.
    """
    if old is None and new.WhichOneof("config") is None:
        # Nothing to serve yet: a list may come while the server runs.
        return
    # A file without any list, as one that is being written, is not an empty list.
    if new.WhichOneof("config") != "model_config_list":
        raise StatusError(
            Code.FAILED_PRECONDITION,
            "Cannot transition to requested config. It is only legal to transition from one "
            "ModelConfigList to another.",
        )
    platforms = {c.name: _platform(c) for c in old.model_config_list.config} if old else {}
    seen = set()
    for config in new.model_config_list.config:
        if config.name in seen:
            raise invalid(f"Illegal to list model {config.name} multiple times in config list")
        seen.add(config.name)
        platform = _platform(config)
        if platforms.get(config.name, platform) != platform:
            raise invalid(
                f"Illegal to change a model's platform. For model {config.name} platform was "
                f"{platforms[config.name]} and new platform requested is {platform}"
            )
        if platform != _PLATFORM:
            raise invalid(f"Model {config.name} requests unsupported platform {platform}")
        if not is_absolute(config.base_path):
            raise invalid(
                f"Expected model {config.name} to have an absolute path or URI; "
                f"got base_path()={config.base_path}"
            )


def _platform(config: ModelConfig) -> str:
    both = "ModelServerConfig::model_type (deprecated) {} ModelServerConfig::model_platform"
    if config.model_type and config.model_platform:
        raise invalid(f"Illegal setting both {both.format('and')}, model name is {config.name}")
    if not config.model_type and not config.model_platform:
        raise invalid(f"Illegal setting neither {both.format('nor')}, model name is {config.name}")
    # TENSORFLOW = 1 is the only model_type that was ever supported.
    return config.model_platform or (_PLATFORM if config.model_type == 1 else "")
