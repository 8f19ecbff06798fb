"""ModelService.HandleReloadConfigRequest: another list of models while the server runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from tensorflow_serving.apis import model_management_pb2

from serving.errors import StatusError, invalid
from serving.model_server.monitoring.metrics import total

if TYPE_CHECKING:
    from serving.model_server.core import ServerCore

_logger = logging.getLogger(__name__)


def handle_reload_config(
    core: ServerCore,
    request: model_management_pb2.ReloadConfigRequest,
    abandoned: Callable[[], bool] = lambda: False,
) -> model_management_pb2.ReloadConfigResponse:
    """Make `core` serve the list in `request`; returns when its new models are AVAILABLE.

    A list that is refused changes nothing. New models that cannot be loaded are an error, but the
    list stays: the other models in it are served (model_servers/server_core.cc, ReloadConfig).

    Args:
        core: the server's.
        request: holds the new list of models, and the names of metrics.
        abandoned: whether nobody waits for the answer any more.

    Returns:
        The status, and of each metric that the request names how much it grew meanwhile.
    """
    names = dict.fromkeys(request.metric_names)
    before = {name: total(name) for name in names}
    response = model_management_pb2.ReloadConfigResponse()
    response.status.SetInParent()
    try:
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only "
                "ModelConfigList is currently supported",
            )
        core.reload_config_and_wait(request.config, abandoned)
    except StatusError as error:
        _logger.error("ReloadConfig failed: %s", error.message)
        # The enum in the proto has the numbers of our codes.
        response.status.error_code = int(error.code)  # type: ignore[assignment]
        response.status.error_message = error.message
    for name in names:
        response.metric.add(name=name, int64_value_increase=total(name) - before[name])
    return response
