"""The model server without its sockets: configuration, labels, models, and what they answer."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

from serving.errors import Code, StatusError
from serving.model_server.config import ModelServerConfig, check_config
from serving.model_server.manager import Manager
from serving.model_server.predict import run_predict
from serving.model_server.saved_model import SavedModel
from serving.model_server.source import FileSystemSource
from serving.model_server.warmup import replay_warmup

SIGNATURE_DEF = "signature_def"


@dataclass(frozen=True)
class CoreOptions:
    """How models are loaded; names and defaults are those of TensorFlow Serving's flags."""

    saved_model_tags: Sequence[str] = ("serve",)
    enable_model_warmup: bool = True
    num_request_iterations_for_warmup: int = 1
    max_num_load_retries: int = 5
    load_retry_interval_micros: int = 60_000_000
    allow_version_labels_for_unavailable_models: bool = False


class ServerCore:
    """Serves the models of one configuration, which can be exchanged while it runs."""

    def __init__(self, options: CoreOptions):
        self._options = options
        self._config: ModelServerConfig | None = None
        self._labels: dict[str, dict[str, int]] = {}
        self._reloading = threading.Lock()
        self.manager = Manager(
            self._load, options.max_num_load_retries, options.load_retry_interval_micros / 1e6
        )
        self.source = FileSystemSource(self.manager)

    def reload_config(self, config: ModelServerConfig) -> None:
        """Makes the server serve exactly what `config` lists; returns before models are loaded.

        Labels are applied first, and refuse the whole configuration if one of them points at a
        version that is not available: the order of TensorFlow Serving.

        Raises:
            StatusError: a configuration that is refused; the old one stays.
        """
        with self._reloading:
            check_config(config, self._config)
            self._labels = self._checked_labels(config)
            self._config = config
            self.source.configure(config.model_config_list.config)

    def model_names(self) -> list[str]:
        """Names of the configured models."""
        return [c.name for c in self._config.model_config_list.config] if self._config else []

    @contextlib.contextmanager
    def use(self, model_spec: Any) -> Iterator[tuple[SavedModel, int]]:
        """Holds the model and version that a ModelSpec means while the block runs.

        Raises:
            StatusError: INVALID_ARGUMENT, no name or unknown label; NOT_FOUND.
        """
        if not model_spec.name:
            raise StatusError(Code.INVALID_ARGUMENT, "ModelSpec has no name specified.")
        choice = model_spec.WhichOneof("version_choice")
        version = None
        if choice == "version":
            version = model_spec.version.value
        elif choice == "version_label":
            label = model_spec.version_label
            version = self._labels.get(model_spec.name, {}).get(label)
            if version is None:
                raise StatusError(
                    Code.INVALID_ARGUMENT, f"Unrecognized servable version label: {label}"
                )
        with self.manager.use(model_spec.name, version) as entry:
            # The manager holds what _load returned, which is all that it is given.
            yield cast(SavedModel, entry.model), entry.version

    def predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        """PredictionService.Predict."""
        _require_model_spec(request)
        with self.use(request.model_spec) as (model, version):
            return run_predict(model, version, request)

    def model_metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """PredictionService.GetModelMetadata."""
        _require_model_spec(request)
        if not request.metadata_field:
            raise StatusError(
                Code.INVALID_ARGUMENT,
                "GetModelMetadataRequest must specify at least one metadata_field",
            )
        for field in request.metadata_field:
            if field != SIGNATURE_DEF:
                raise StatusError(Code.INVALID_ARGUMENT, f"Metadata field {field} is not supported")
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        signatures = get_model_metadata_pb2.SignatureDefMap()
        with self.use(request.model_spec) as (model, version):
            response.model_spec.name = request.model_spec.name
            response.model_spec.version.value = version
            for name, signature in model.signatures.items():
                signatures.signature_def[name].CopyFrom(signature)
        response.metadata[SIGNATURE_DEF].Pack(signatures)
        return response

    def model_status(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """ModelService.GetModelStatus: every version ever seen, highest first; labels ignored."""
        _require_model_spec(request)
        name = request.model_spec.name
        statuses = self.manager.statuses(name)
        if not statuses:
            raise StatusError(Code.NOT_FOUND, f"Could not find any versions of model {name}")
        if request.model_spec.WhichOneof("version_choice") == "version":
            wanted = request.model_spec.version.value
            statuses = [status for status in statuses if status[0] == wanted]
            if not statuses:
                raise StatusError(
                    Code.NOT_FOUND, f"Could not find version {wanted} of model {name}"
                )
        response = get_model_status_pb2.GetModelStatusResponse()
        for version, state, error in statuses:
            item = response.model_version_status.add(version=version, state=int(state))
            item.status.error_code = int(error.code) if error else 0
            item.status.error_message = error.message if error else ""
        return response

    def stop(self) -> None:
        """Unloads all models, once requests under way have ended."""
        self.manager.stop()

    def _load(self, name: str, version: int, folder: Path) -> SavedModel:
        model = SavedModel.load(folder, self._options.saved_model_tags)
        if self._options.enable_model_warmup:
            try:
                replay_warmup(
                    model, version, folder, self._options.num_request_iterations_for_warmup or 1
                )
            except Exception:
                model.close()
                raise
        return model

    def _checked_labels(self, config: ModelServerConfig) -> dict[str, dict[str, int]]:
        labels: dict[str, dict[str, int]] = {}
        for model in config.model_config_list.config:
            for label, version in model.version_labels.items():
                moved = self._labels.get(model.name, {}).get(label, version) != version
                lenient = self._options.allow_version_labels_for_unavailable_models and not moved
                if not lenient and not self.manager.is_available(model.name, version):
                    raise StatusError(
                        Code.FAILED_PRECONDITION,
                        f"Request to assign label to version {version} of model {model.name}, "
                        "which is not currently available for inference",
                    )
                labels.setdefault(model.name, {})[label] = version
        return labels


def _require_model_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise StatusError(Code.INVALID_ARGUMENT, "Missing ModelSpec")
