"""The command `vlsearch-model-server`: TensorFlow Serving's `tensorflow_model_server`, its twin.

Same flags, same files, same texts on standard output, same exit codes; logs go to standard error.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from importlib import metadata

from serving.errors import ServingError, StatusError, invalid
from serving.model_server.flags import VERSION, Flags
from serving.model_server.management.config import check_config
from serving.model_server.models.memory import limit_arenas
from serving.model_server.options import ServerOptions
from serving.model_server.process import end_process, ended_by_signals

PROGRAM = "vlsearch-model-server"
# Where the command differs from ServerOptions, to be as TensorFlow Serving is: reachable from other
# machines, and without a limit that it does not have.
DEFAULTS = {"host": "0.0.0.0", "max_image_pixels": 0}
# What `return -1` from main becomes.
FAILURE = 255


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code.

    Args:
        arguments: None is those of this process.
    """
    logging.basicConfig(format="%(asctime)s %(levelname).1s %(name)s: %(message)s")
    logging.getLogger("serving").setLevel(logging.INFO)
    flags = Flags(**DEFAULTS)
    usage = flags.usage(PROGRAM)
    parsed = flags.parse(sys.argv[1:] if arguments is None else arguments)
    if not parsed.ok:
        print(usage, end="", flush=True)
        return FAILURE
    values = {**flags.defaults, **parsed.values}
    if values.pop(VERSION, False):
        print(f"TensorFlow ModelServer: {_server_version()}")
        print(f"TensorFlow Library: {metadata.version('tensorflow')}")
        return 0
    if parsed.unknown:
        # Said, and no reason to end.
        print(f"unknown argument: {parsed.unknown[0]}\n{usage}", end="", flush=True)
    try:
        _serve(ServerOptions(**values))
    except ServingError as error:
        status = error if isinstance(error, StatusError) else invalid(str(error))
        print(f"Failed to start server. Error: {status.text}", flush=True)
        return FAILURE
    return 0


def _serve(options: ServerOptions) -> None:
    # What is wrong on the command line or in its files is found before TensorFlow is imported,
    # which takes seconds.
    options.validate()
    check_config(options.read_config())
    options.batching_parameters()
    limit_arenas()
    with ended_by_signals():
        from serving.model_server.server import ModelServer

        has_ended = ModelServer(options).serve_forever()
    if not has_ended:
        end_process()


def _server_version() -> str:
    """Return the version of the API, and whose server it is."""
    api = metadata.version("tensorflow-serving-api")
    return f"{api}+vlsearch.{metadata.version('vlsearch')}"


if __name__ == "__main__":
    sys.exit(main())
