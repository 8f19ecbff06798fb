"""One loaded SavedModel version, run the way TensorFlow Serving runs it: a TF1-style session.

Feeds are not checked against the static shape of the placeholder, as in TensorFlow Serving:
`Session.run` would refuse what the C++ session accepts, so callables are made from options instead.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

# Registers TF Text's operators, which TensorFlow Serving links: graphs that tokenise need them.
import tensorflow_text  # noqa: F401
from tensorflow.core.protobuf import config_pb2
from tensorflow.python.saved_model import loader_impl

from serving.errors import Code, StatusError

DEFAULT_SIGNATURE = "serving_default"


class SavedModel:
    """A session over one SavedModel; safe to run from several threads.

    Attributes:
        signatures: SignatureDef by name.
    """

    def __init__(self, session: tf.compat.v1.Session, signatures: Mapping[str, Any]):
        self.signatures = signatures
        self._session = session
        self._callables: dict[tuple[tuple[str, ...], tuple[str, ...]], Any] = {}
        self._lock = threading.Lock()

    @classmethod
    def load(cls, folder: str | Path, tags: Sequence[str] = ("serve",)) -> SavedModel:
        """Loads the graph with the given tags into a session of its own.

        Raises:
            StatusError: no SavedModel there, no such tags, or an operator failed while restoring.
        """
        graph = tf.Graph()
        session = tf.compat.v1.Session(graph=graph)
        try:
            with graph.as_default():
                # tf.compat.v1.saved_model.loader.load, without its warning at each load.
                loader = loader_impl.SavedModelLoader(os.fspath(folder))
                meta_graph = loader.load(session, list(tags))
        except tf.errors.OpError as error:
            session.close()
            raise status_of(error) from error
        except (OSError, RuntimeError) as error:
            # TensorFlow reports a missing file as OSError, missing tags as RuntimeError.
            session.close()
            raise StatusError(Code.NOT_FOUND, str(error)) from error
        return cls(session, dict(meta_graph.signature_def))

    def run(self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str]) -> list[np.ndarray]:
        """Values of the tensors named `fetches`, with `feeds` by tensor name.

        Raises:
            StatusError: with the code and text of the operator that failed.
        """
        names = tuple(sorted(feeds))
        try:
            function = self._callable(names, tuple(fetches))
            return function(*(feeds[name] for name in names))
        except tf.errors.OpError as error:
            raise status_of(error) from error
        except (TypeError, ValueError) as error:
            raise StatusError(Code.INVALID_ARGUMENT, str(error)) from error

    def close(self) -> None:
        """Frees the graph and its variables; nothing may run it afterwards."""
        self._callables.clear()
        self._session.close()

    def _callable(self, feeds: tuple[str, ...], fetches: tuple[str, ...]):
        function = self._callables.get((feeds, fetches))
        if function is None:
            with self._lock:
                # Two threads that both make it leave one of the two unused: rare, and harmless.
                options = config_pb2.CallableOptions(feed=feeds, fetch=fetches)
                function = self._session._make_callable_from_options(options)
                self._callables[feeds, fetches] = function
        return function


def status_of(error: tf.errors.OpError) -> StatusError:
    """The status that TensorFlow raised, as ours."""
    return StatusError(Code(error.error_code), error.message)
