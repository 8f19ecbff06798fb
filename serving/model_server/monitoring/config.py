"""MonitoringConfig: the text proto of `--monitoring_config_file`.

Fields as in tensorflow_serving/config/monitoring_config.proto, which the tensorflow-serving-api
package does not ship.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from serving.descriptors import build_messages
from serving.model_server.text_proto import read_text_proto

DEFAULT_PATH = "/monitoring/prometheus/metrics"

_message_class = build_messages(
    "tensorflow.serving",
    {
        "PrometheusConfig": {"enable": (1, "bool"), "path": (2, "string")},
        "MonitoringConfig": {"prometheus_config": (1, "PrometheusConfig")},
    },
)


@dataclass(frozen=True)
class MonitoringConfig:
    """Whether metrics are served on the REST port, and where.

    Attributes:
        enable: serve them.
        path: of the URL.
    """

    enable: bool = False
    path: str = DEFAULT_PATH


def read_monitoring_config(path: str | Path) -> MonitoringConfig:
    """Parse the text proto MonitoringConfig in `path`.

    Raises:
        StatusError: no such file, or not in that format.
    """
    config = read_text_proto(path, _message_class("MonitoringConfig")()).prometheus_config
    return MonitoringConfig(enable=config.enable, path=config.path or DEFAULT_PATH)
