"""Options of the model server, and those that serve a release."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.errors import Code, ServingError, StatusError
from serving.model_server.config import ModelServerConfig, read_config, single_model_config
from serving.model_server.core import CoreOptions
from serving.release import CONFIG_FILE, Release

_THREADS = 4 * (os.cpu_count() or 1)
_POLL_SECONDS = 1


@dataclass(frozen=True)
class ServerOptions:
    """What TensorFlow Serving takes as flags, under the same names and with the same defaults.

    Different from there: `host`, and a port of None, which means one that is free.

    Attributes:
        port: gRPC; 0 is off.
        rest_api_port: REST; 0 is off.
        model_config_file: text proto ModelServerConfig; or else:
        model_name, model_base_path: one model with its latest version.
        model_config_file_poll_wait_seconds: how often to read the file again; 0 is never.
        file_system_poll_wait_seconds: how often to look for versions; 0 is once.
    """

    host: str = "127.0.0.1"
    port: int | None = 8500
    rest_api_port: int | None = 8501
    rest_api_num_threads: int = _THREADS
    rest_api_enable_cors_support: bool = False
    grpc_max_threads: int = _THREADS
    model_name: str = "default"
    model_base_path: str = ""
    model_config_file: str = ""
    model_config_file_poll_wait_seconds: float = 0
    file_system_poll_wait_seconds: float = 1
    saved_model_tags: Sequence[str] = ("serve",)
    enable_model_warmup: bool = True
    num_request_iterations_for_warmup: int = 1
    max_num_load_retries: int = 5
    load_retry_interval_micros: int = 60_000_000
    allow_version_labels_for_unavailable_models: bool = False

    def read_config(self) -> ModelServerConfig:
        """The configuration these options name.

        Raises:
            StatusError: none is named, or the file is broken.
        """
        if self.model_config_file:
            return read_config(self.model_config_file)
        if not self.model_base_path:
            raise StatusError(
                Code.INVALID_ARGUMENT,
                "Both server_options.model_base_path and server_options.model_config_file are "
                "empty!",
            )
        return single_model_config(self.model_name, self.model_base_path)

    def core_options(self) -> CoreOptions:
        """The part of the options that concerns loading."""
        return CoreOptions(
            saved_model_tags=self.saved_model_tags,
            enable_model_warmup=self.enable_model_warmup,
            num_request_iterations_for_warmup=self.num_request_iterations_for_warmup,
            max_num_load_retries=self.max_num_load_retries,
            load_retry_interval_micros=self.load_retry_interval_micros,
            allow_version_labels_for_unavailable_models=(
                self.allow_version_labels_for_unavailable_models
            ),
        )


def release_options(root: str | Path, **options: Any) -> ServerOptions:
    """Options that serve `root` and follow it.

    Args:
        options: further fields of ServerOptions.

    Raises:
        ServingError: `root` holds no complete release.
    """
    root = Path(root)
    Release.load(root)
    if not (root / CONFIG_FILE).is_file():
        raise ServingError(
            f"{root} has a release.json but no {CONFIG_FILE}. Publish the release again: it writes "
            "both."
        )
    return ServerOptions(
        model_config_file=str(root / CONFIG_FILE),
        model_config_file_poll_wait_seconds=_POLL_SECONDS,
        **options,
    )
