"""The model server without its sockets: configuration, labels, models, and what they answer."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.errors import Code, StatusError, invalid
from serving.model_server.inference.classify import CLASSIFY
from serving.model_server.inference.multi_inference import run_multi_inference
from serving.model_server.inference.predict import run_predict
from serving.model_server.inference.regress import REGRESS
from serving.model_server.limits import ConcurrencyLimit
from serving.model_server.loader import ModelLoader
from serving.model_server.management.config import ModelServerConfig, check_config
from serving.model_server.management.manager import Manager
from serving.model_server.management.source import FileSystemSource
from serving.model_server.models.model import DEFAULT_SIGNATURE, Model
from serving.model_server.monitoring.metrics import UNKNOWN, counted_by_signature
from serving.model_server.monitoring.request_log import check_request_logging
from serving.model_server.options import ServerOptions

SIGNATURE_DEF = "signature_def"
# For a look at a file system that hangs.
_SECONDS_TO_GIVE_UP = 1.0

_logger = logging.getLogger(__name__)


class ServerCore:
    """Serves the models of one configuration, which can be exchanged while it runs."""

    def __init__(self, options: ServerOptions):
        self._options = options
        self._config: ModelServerConfig | None = None
        self._labels: dict[str, dict[str, int]] = {}
        self._new_models: set[str] = set()
        self._stopping = False
        self._reloading = threading.Lock()
        self.concurrency = ConcurrencyLimit(options.max_concurrent_requests)
        if options.enable_per_signature_metrics:
            known = self.known_signature
            self.predict = counted_by_signature("Predict", self.predict, known)  # type: ignore[method-assign]
            self.classify = counted_by_signature("Classify", self.classify, known)  # type: ignore[method-assign]
            self.regress = counted_by_signature("Regress", self.regress, known)  # type: ignore[method-assign]
        self._loader = ModelLoader(options)
        self.manager = Manager(
            self._loader,
            options.max_num_load_retries,
            options.load_retry_interval_micros / 1e6,
            options.num_load_threads,
            options.num_unload_threads,
        )
        self.source = FileSystemSource(self.manager, options.file_system_poll_wait_seconds)

    def reload_config(self, config: ModelServerConfig, look: bool = True) -> set[str]:
        """Make the server serve exactly what `config` lists; returns before models are loaded.

        Labels are applied first, and refuse the whole configuration if one of them points at a
        version that is not available: the order of TensorFlow Serving.

        Args:
            config: the new one.
            look: whether to look for versions now; otherwise `source.look` is called later.

        Returns:
            The models that this configuration, or one shortly before it, brought in and that were
            not loaded yet.

        Raises:
            StatusError: a configuration that is refused; the old one stays.
        """
        with self._reloading:
            if self._config is None and config.WhichOneof("config") is None:
                _logger.info("Taking no action for empty config.")
                return set()
            check_config(config, self._config)
            check_request_logging(config)
            self._labels = self._checked_labels(config)
            before = set(self.model_names())
            self._config = config
            names = set(self.model_names())
            waiting = {name for name in self._new_models if not self.manager.is_settled(name)}
            self._new_models = (waiting | (names - before)) & names
            self.source.configure(config.model_config_list.config, look=False)
            new = set(self._new_models)
        # Not under the lock: a file system may take its time.
        if look:
            self.source.look()
        return new

    def reload_config_and_wait(
        self, config: ModelServerConfig, abandoned: Callable[[], bool] = lambda: False
    ) -> None:
        """As `reload_config`, but returns when the new models are AVAILABLE.

        Args:
            config: as for `reload_config`.
            abandoned: ends the wait when it is true, after `manager.wake`.

        Raises:
            StatusError: a configuration that is refused; UNKNOWN, models that cannot be loaded;
                ABORTED, a later configuration without them; UNAVAILABLE, the server stops;
                CANCELLED, the wait was abandoned.
        """
        new = self.reload_config(config)

        def superseded() -> bool:
            return not new <= set(self.model_names())

        if self.manager.wait_until_ready(
            new, abandoned=lambda: abandoned() or superseded() or self._stopping
        ):
            return
        if self._stopping:
            raise StatusError(Code.UNAVAILABLE, "The model server is stopping")
        if superseded():
            gone = ", ".join(sorted(new - set(self.model_names())))
            raise StatusError(
                Code.ABORTED, f"Another configuration without {gone} came before it was loaded"
            )
        raise StatusError(Code.CANCELLED, "Nobody waits for the new models any more")

    def model_names(self) -> list[str]:
        """Names of the configured models."""
        return [c.name for c in self._config.model_config_list.config] if self._config else []

    def known_model(self, name: str) -> str:
        """Return `name` if it is a model's, or was; else UNKNOWN."""
        return name if self.manager.knows(name) or name in self.model_names() else UNKNOWN

    def known_signature(self, model_spec: Any) -> tuple[str, str]:
        """Return the model and the signature that a ModelSpec names; UNKNOWN what there is not."""
        model = self.known_model(model_spec.name)
        signature = model_spec.signature_name or DEFAULT_SIGNATURE
        with contextlib.suppress(StatusError), self.use(model_spec) as (found, _):
            if signature in found.signatures:
                return model, signature
        return model, UNKNOWN

    @contextlib.contextmanager
    def use(self, model_spec: Any) -> Iterator[tuple[Model, int]]:
        """Hold the model and version that a ModelSpec means while the block runs.

        Raises:
            StatusError: INVALID_ARGUMENT, no name or unknown label; NOT_FOUND.
        """
        if not model_spec.name:
            raise invalid("ModelSpec has no name specified.")
        choice = model_spec.WhichOneof("version_choice")
        version = None
        if choice == "version":
            version = model_spec.version.value
        elif choice == "version_label":
            label = model_spec.version_label
            version = self._labels.get(model_spec.name, {}).get(label)
            if version is None:
                raise invalid(f"Unrecognized servable version label: {label}")
        with self.manager.use(model_spec.name, version) as entry:
            # The manager holds what the loader returned, which is all that it is given.
            yield cast(Model, entry.model), entry.version

    def predict(
        self,
        request: predict_pb2.PredictRequest,
        *,
        deadline: float | None = None,
        as_tensor_content: bool = False,
    ) -> predict_pb2.PredictResponse:
        """PredictionService.Predict.

        Args:
            request: a PredictRequest with a ModelSpec.
            deadline: seconds of `time.monotonic()` by which the answer is wanted.
            as_tensor_content: whether outputs are raw bytes even if the options do not say so.

        Raises:
            StatusError: as `use`, and as `run_predict`.
        """
        _require_model_spec(request)
        options = self._options
        with self.use(request.model_spec) as (model, version):
            return run_predict(
                model,
                version,
                request,
                deadline=deadline,
                as_tensor_content=(
                    as_tensor_content or options.enable_serialization_as_tensor_content
                ),
                check_method_name=options.enable_signature_method_name_check,
                max_image_pixels=options.max_image_pixels,
            )

    def classify(
        self, request: classification_pb2.ClassificationRequest, *, deadline: float | None = None
    ) -> classification_pb2.ClassificationResponse:
        """PredictionService.Classify.

        Raises:
            StatusError: as `use`, and as `ExamplesTask.run`.
        """
        _require_model_spec(request)
        check = self._options.enable_signature_method_name_check
        with self.use(request.model_spec) as (model, version):
            return CLASSIFY.run(model, version, request, deadline=deadline, check_method_name=check)

    def regress(
        self, request: regression_pb2.RegressionRequest, *, deadline: float | None = None
    ) -> regression_pb2.RegressionResponse:
        """PredictionService.Regress.

        Raises:
            StatusError: as `use`, and as `ExamplesTask.run`.
        """
        _require_model_spec(request)
        check = self._options.enable_signature_method_name_check
        with self.use(request.model_spec) as (model, version):
            return REGRESS.run(model, version, request, deadline=deadline, check_method_name=check)

    def multi_inference(
        self, request: inference_pb2.MultiInferenceRequest, *, deadline: float | None = None
    ) -> inference_pb2.MultiInferenceResponse:
        """PredictionService.MultiInference; the first task says which version runs all of them.

        Raises:
            StatusError: as `use`, and as `run_multi_inference`.
        """
        spec = request.tasks[0].model_spec if request.tasks else model_pb2.ModelSpec()
        check = self._options.enable_signature_method_name_check
        with self.use(spec) as (model, version):
            return run_multi_inference(
                model, version, request, deadline=deadline, check_method_name=check
            )

    def model_metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """PredictionService.GetModelMetadata.

        Raises:
            StatusError: as `use`; INVALID_ARGUMENT, other metadata than `signature_def` or none.
        """
        _require_model_spec(request)
        if not request.metadata_field:
            raise invalid(
                "GetModelMetadataRequest must specify at least one metadata_field",
            )
        for name in request.metadata_field:
            if name != SIGNATURE_DEF:
                raise invalid(f"Metadata field {name} is not supported")
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
        """ModelService.GetModelStatus: every version ever seen, highest first; labels ignored.

        Raises:
            StatusError: NOT_FOUND, no such model or version.
        """
        _require_model_spec(request)
        name = request.model_spec.name
        statuses = self.manager.statuses(name)
        if request.model_spec.WhichOneof("version_choice") == "version":
            wanted = request.model_spec.version.value
            statuses = [status for status in statuses if status[0] == wanted]
            if not statuses:
                raise StatusError(
                    Code.NOT_FOUND, f"Could not find version {wanted} of model {name}"
                )
        if not statuses:
            raise StatusError(Code.NOT_FOUND, f"Could not find any versions of model {name}")
        response = get_model_status_pb2.GetModelStatusResponse()
        for version, state, error in statuses:
            item = response.model_version_status.add(version=version, state=int(state))
            item.status.error_code = int(error.code) if error else 0
            item.status.error_message = error.message if error else ""
        return response

    def begin_stop(self) -> None:
        """Give up what is being loaded, and let nobody wait for it any more."""
        self._stopping = True
        self._loader.stop()
        self.manager.begin_stop()

    def stop(self, timeout: float | None = None) -> bool:
        """Unload all models, once requests under way have ended.

        Args:
            timeout: seconds for them; None waits for ever.

        Returns:
            Whether all has ended; see `Manager.stop`.
        """
        has_ended = self.source.stop(None if timeout is None else _SECONDS_TO_GIVE_UP)
        return self.manager.stop(timeout) and has_ended

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
        raise invalid("Missing ModelSpec")
