"""One loaded SavedModel version, run the way TensorFlow Serving runs it: a TF1-style session.

Feeds are not checked against the static shape of the placeholder, as in TensorFlow Serving:
`Session.run` would refuse what the C++ session accepts, so callables are made from options instead.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

# Registers TF Text's operators, which TensorFlow Serving links: graphs that tokenise need them.
import tensorflow_text  # noqa: F401
from tensorflow.core.protobuf import config_pb2
from tensorflow.python.client import pywrap_tf_session
from tensorflow.python.framework import ops
from tensorflow.python.saved_model import loader_impl

from serving.errors import Code, StatusError, invalid

# TensorFlow keeps what it made for each set of outputs that was ever asked for, and callers choose.
MAX_FETCHED_SETS = 64


class SavedModel:
    """A session over one SavedModel; safe to run from several threads.

    Attributes:
        signatures: SignatureDef by name.
        graph_lock: held while the graph, or what is compiled of it, is added to.
    """

    def __init__(self, session: tf.compat.v1.Session, signatures: Mapping[str, Any]):
        self.signatures = signatures
        self._session = session
        self._callables: dict[tuple[tuple[str, ...], tuple[str, ...]], Callable[..., list]] = {}
        self._outputs: dict[str, Any] = {}
        self._whole_sets = _whole_sets(signatures)
        self._known_sets: set[tuple[tuple[str, ...], tuple[str, ...]]] = set()
        self.graph_lock = threading.Lock()

    @classmethod
    def load(
        cls,
        folder: str | Path,
        tags: Sequence[str] = ("serve",),
        config: config_pb2.ConfigProto | None = None,
    ) -> SavedModel:
        """Load the graph with the given tags into a session of its own.

        Args:
            folder: that holds saved_model.pb.
            tags: of the graph in it.
            config: of the session; None leaves all to TensorFlow.

        Raises:
            StatusError: no SavedModel there, no such tags, or an operator failed while restoring.
        """
        graph = tf.Graph()
        session = tf.compat.v1.Session(graph=graph, config=config)
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
            raise _not_loaded(error, folder) from error
        return cls(session, dict(meta_graph.signature_def))

    def run(
        self,
        feeds: Mapping[str, np.ndarray],
        fetches: Sequence[str],
        deadline: float | None = None,
    ) -> list[np.ndarray]:
        """Values of the tensors named `fetches`, with `feeds` by tensor name.

        Args:
            feeds: arrays by tensor name.
            fetches: tensor names.
            deadline: seconds of `time.monotonic()` by which the answer is wanted.

        Raises:
            StatusError: with the code and text of the operator that failed.
        """
        names = tuple(sorted(feeds))
        wanted = self._fetched_set(names, fetches)
        try:
            if deadline is not None:
                values = self._run_until(deadline, feeds, wanted)
            else:
                values = self.compiled(names, wanted)(*(feeds[name] for name in names))
        except tf.errors.OpError as error:
            raise status_of(error) from error
        except (KeyError, TypeError, ValueError) as error:
            raise invalid(str(error)) from error
        if wanted == tuple(fetches):
            return values
        by_name = dict(zip(wanted, values))
        return [by_name[name] for name in fetches]

    @property
    def graph(self) -> tf.Graph:
        """The graph. Whoever adds to it holds `graph_lock`."""
        return self._session.graph

    def compiled(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Callable[..., list]:
        """Return a function of one array per name in `feeds`, kept for the next time.

        Raises:
            ValueError: a name that is no tensor's.
        """
        function = self._callables.get((feeds, fetches))
        if function is None:
            with self.graph_lock:
                # Two threads that both make it leave one of the two unused: rare, and harmless.
                options = config_pb2.CallableOptions(feed=feeds, fetch=fetches)
                function = self._session._make_callable_from_options(options)
                self._callables[feeds, fetches] = function
        return function

    def close(self) -> None:
        """Frees the graph and its variables; nothing may run it afterwards."""
        self._callables.clear()
        graph = self._session.graph
        self._session.close()
        # Operators and graph refer to each other. Taking them apart frees the memory now, without
        # a run of the garbage collector, which holds up all requests for a while.
        ops.dismantle_graph(graph)

    def _fetched_set(self, feeds: tuple[str, ...], fetches: Sequence[str]) -> tuple[str, ...]:
        """Return what to fetch for `fetches`: in one order, and more than that after many sets."""
        wanted = tuple(sorted(set(fetches)))
        if (feeds, wanted) in self._known_sets:
            return wanted
        if len(self._known_sets) >= MAX_FETCHED_SETS:
            for whole in self._whole_sets.get(feeds, ()):
                if set(wanted) <= set(whole):
                    return whole
        self._known_sets.add((feeds, wanted))
        return wanted

    def _run_until(
        self, deadline: float, feeds: Mapping[str, np.ndarray], fetches: Sequence[str]
    ) -> list[np.ndarray]:
        """Run with a time limit, which `compiled` functions cannot have one by one."""
        milliseconds = math.ceil((deadline - time.monotonic()) * 1000)
        if milliseconds <= 0:
            raise StatusError(Code.DEADLINE_EXCEEDED, "Timed out before the model was run")
        options = pywrap_tf_session.TF_NewBufferFromString(
            config_pb2.RunOptions(timeout_in_ms=milliseconds).SerializeToString()
        )
        try:
            # What Session.run ends in, after the checks of shapes that are not wanted here.
            return pywrap_tf_session.TF_SessionRun_wrapper(
                self._session._session,
                options,
                {self._output(name): value for name, value in feeds.items()},
                [self._output(name) for name in fetches],
                [],
                None,
            )
        finally:
            pywrap_tf_session.TF_DeleteBuffer(options)

    def _output(self, name: str) -> Any:
        output = self._outputs.get(name)
        if output is None:
            output = self._session.graph.get_tensor_by_name(name)._as_tf_output()
            self._outputs[name] = output
        return output


def _whole_sets(
    signatures: Mapping[str, Any],
) -> dict[tuple[str, ...], list[tuple[str, ...]]]:
    """By inputs: the outputs of each signature that has them, few first, and those of all."""
    sets: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for signature in signatures.values():
        feeds = tuple(sorted(info.name for info in signature.inputs.values()))
        fetches = tuple(sorted({info.name for info in signature.outputs.values()}))
        sets.setdefault(feeds, set()).add(fetches)
    return {
        feeds: [*sorted(some, key=len), tuple(sorted(set().union(*some)))]
        for feeds, some in sets.items()
    }


def _not_loaded(error: OSError | RuntimeError, folder: str | Path) -> StatusError:
    if str(error).startswith("Cannot parse file"):
        # ReadBinaryProto of TensorFlow's C++ loader.
        return StatusError(Code.DATA_LOSS, f"Can't parse {folder}/saved_model.pb as binary proto")
    return StatusError(Code.NOT_FOUND, str(error))


def status_of(error: tf.errors.OpError) -> StatusError:
    """Return the status that TensorFlow raised, as ours."""
    return StatusError(Code(error.error_code), error.message)
