"""`models.config`: reading and checking a ModelServerConfig text proto."""

from __future__ import annotations

from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelServerConfig

from serving.errors import Code, StatusError

_PLATFORM = "tensorflow"


def read_config(path: str | Path) -> ModelServerConfig:
    """Parses the text proto in `path`.

    Raises:
        StatusError: no such file, or `Invalid protobuf file` with protobuf's own explanation.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise StatusError(Code.NOT_FOUND, f"{path}; {error.strerror}") from error
    try:
        return text_format.Parse(text, ModelServerConfig())
    except text_format.ParseError as error:
        raise StatusError(
            Code.INVALID_ARGUMENT,
            f"Invalid protobuf file: '{path}' (tensorflow.serving.ModelServerConfig: {error})",
        ) from error


def single_model_config(name: str, base_path: str) -> ModelServerConfig:
    """The configuration that `--model_name` and `--model_base_path` stand for."""
    config = ModelServerConfig()
    config.model_config_list.config.add(name=name, base_path=base_path, model_platform=_PLATFORM)
    return config


def check_config(new: ModelServerConfig, old: ModelServerConfig | None = None) -> None:
    """Checks a configuration, and the transition from `old`, in TensorFlow Serving's words.

    Raises:
        StatusError: INVALID_ARGUMENT or FAILED_PRECONDITION.
    """
    if new.WhichOneof("config") not in (None, "model_config_list"):
        raise StatusError(
            Code.FAILED_PRECONDITION,
            "Cannot transition to requested config. It is only legal to transition from one "
            "ModelConfigList to another.",
        )
    platforms = {c.name: _platform(c) for c in old.model_config_list.config} if old else {}
    seen = set()
    for config in new.model_config_list.config:
        if config.name in seen:
            raise _invalid(f"Illegal to list model {config.name} multiple times in config list")
        seen.add(config.name)
        platform = _platform(config)
        if platforms.get(config.name, platform) != platform:
            raise _invalid(
                f"Illegal to change a model's platform. For model {config.name} platform was "
                f"{platforms[config.name]} and new platform requested is {platform}"
            )
        if platform != _PLATFORM:
            raise _invalid(f"Model {config.name} requests unsupported platform {platform}")
        if not config.base_path.startswith("/"):
            raise _invalid(
                f"Expected model {config.name} to have an absolute path or URI; "
                f"got base_path()={config.base_path}"
            )


def _platform(config: ModelConfig) -> str:
    both = "ModelServerConfig::model_type (deprecated) {} ModelServerConfig::model_platform"
    if config.model_type and config.model_platform:
        raise _invalid(f"Illegal setting both {both.format('and')}, model name is {config.name}")
    if not config.model_type and not config.model_platform:
        raise _invalid(f"Illegal setting neither {both.format('nor')}, model name is {config.name}")
    # TENSORFLOW = 1 is the only model_type that was ever supported.
    return config.model_platform or (_PLATFORM if config.model_type == 1 else "")


def _invalid(message: str) -> StatusError:
    return StatusError(Code.INVALID_ARGUMENT, message)
