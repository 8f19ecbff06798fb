"""From a version's folder to a model that answers: fetch, open, batch, warm up."""

from __future__ import annotations

import weakref
from pathlib import Path

from serving.errors import Code, StatusError
from serving.model_server.batching.config import (
    BATCHING_FILE,
    BatchingParameters,
    read_batching_parameters,
)
from serving.model_server.batching.model import BatchedModel
from serving.model_server.management.servable import Location
from serving.model_server.models.memory import use_system_allocator
from serving.model_server.models.model import Model
from serving.model_server.models.saved_model import SavedModel
from serving.model_server.models.session_config import session_config
from serving.model_server.models.storage import fetch
from serving.model_server.models.tflite import TFLITE_FILE, TFLiteModel
from serving.model_server.models.warmup import replay_warmup
from serving.model_server.options import ServerOptions


class ModelLoader:
    """Loads versions; safe to call from several threads.

    Raises:
        StatusError: parameters of batching, or a session configuration, that cannot be read.
    """

    def __init__(self, options: ServerOptions):
        self._options = options
        self._batching = options.batching_parameters()
        self._session_config = session_config(options)
        self._stopping = False
        use_system_allocator()

    def __call__(self, name: str, version: int, location: Location) -> Model:
        """Return the version at `location`, warmed up.

        Raises:
            StatusError: it cannot be read, restored or warmed up; CANCELLED, after `stop`.
        """
        self._check_wanted()
        folder, copy = fetch(location)
        try:
            model = self._batched(folder)
            try:
                self._warm_up(model, version, folder)
            except Exception:
                model.close()
                raise
        except Exception:
            if copy is not None:
                copy.cleanup()
            raise
        if copy is not None:
            weakref.finalize(model, copy.cleanup)
        return model

    def stop(self) -> None:
        """Give up the loads that are under way, as soon as they get to know of it."""
        self._stopping = True

    def _check_wanted(self) -> None:
        if self._stopping:
            raise StatusError(Code.CANCELLED, "The model server is stopping")

    def _batched(self, folder: Path) -> Model:
        options = self._options
        if options.prefer_tflite_model and (folder / TFLITE_FILE).is_file():
            return TFLiteModel.load(
                folder, options.num_tflite_pools, options.num_tflite_interpreters_per_pool
            )
        parameters = self._batching_parameters(folder)
        model = SavedModel.load(folder, options.saved_model_tags, self._session_config)
        if parameters is None:
            return model
        try:
            return BatchedModel(model, parameters)
        except Exception:
            model.close()
            raise

    def _batching_parameters(self, folder: Path) -> BatchingParameters | None:
        common = self._batching
        if common is None or not self._options.enable_per_model_batching_parameters:
            return common
        path = folder / BATCHING_FILE
        return read_batching_parameters(path, common) if path.exists() else None

    def _warm_up(self, model: Model, version: int, folder: Path) -> None:
        options = self._options
        if options.enable_model_warmup:
            replay_warmup(
                model,
                version,
                folder,
                options.num_request_iterations_for_warmup or 1,
                check_method_name=options.enable_signature_method_name_check,
                check_wanted=self._check_wanted,
            )
