"""Request logging as the open-source TensorFlow Serving has it: refused."""

from __future__ import annotations

from serving.errors import invalid
from serving.model_server.management.config import ModelServerConfig


def check_request_logging(config: ModelServerConfig) -> None:
    """Refuses a `logging_config`: no collector that writes comes with TensorFlow Serving.

    Raises:
        StatusError: INVALID_ARGUMENT, a model has one.
    """
    if any(model.HasField("logging_config") for model in config.model_config_list.config):
        raise invalid("No request-logger-creator provided.")
