"""`vlsearch serve`: a model server over a release root, the embedded one or TF Serving."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tfx_pipeline.cli.logs import LOG_FORMAT
from tfx_pipeline.cli.places import RootArgument, release_root

if TYPE_CHECKING:
    from serving.model_server.options import ServerOptions
    from serving.model_server.server import ModelServer

_TF_SERVING = "tensorflow_model_server"
_EVERYWHERE = "0.0.0.0"


def serve(
    root: RootArgument,
    host: Annotated[
        str | None,
        typer.Option(help="Address to listen on.", show_default="127.0.0.1"),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="gRPC port; 0 turns it off.")] = 8500,
    rest_port: Annotated[
        int, typer.Option(min=0, max=65535, help="REST port; 0 turns REST off.")
    ] = 8501,
    engine: Annotated[
        Literal["embedded", "tf-serving"],
        typer.Option(help="The server in this package, or tensorflow_model_server on the PATH."),
    ] = "embedded",
    socket_path: Annotated[
        str, typer.Option("--grpc-socket-path", help="UNIX socket that also answers gRPC.")
    ] = "",
    enable_batching: Annotated[
        bool, typer.Option("--enable-batching", help="Run requests together in batches.")
    ] = False,
    batching_parameters_file: Annotated[
        str, typer.Option(help="Text proto BatchingParameters, with --enable-batching.")
    ] = "",
    monitoring_config_file: Annotated[
        str, typer.Option(help="Text proto MonitoringConfig: metrics on the REST port.")
    ] = "",
    ssl_config_file: Annotated[str, typer.Option(help="Text proto SSLConfig: gRPC over TLS.")] = "",
) -> None:
    """Serve a release with TF Serving's gRPC and REST API, and follow new releases.

    The embedded server is TF Serving's local twin: the same requests and the same models.config
    work with both, and the command vlsearch-model-server takes all its flags.

    A root that was copied, moved or mounted elsewhere is served as it is, whatever place its
    models.config names; --engine tf-serving needs `vlsearch serving repair ROOT` first.

    The releases of a bucket are copied to a cache folder ($VLSEARCH_CACHE, ~/.cache/vlsearch), and
    the embedded server looks for new ones every five seconds.
    """
    from serving.model_server.options import release_options

    folder = release_root(root)
    # Complains at once; what follows takes seconds to import.
    options = release_options(
        folder,
        host=host or "127.0.0.1",
        port=port,
        rest_api_port=rest_port,
        grpc_socket_path=socket_path,
        enable_batching=enable_batching,
        batching_parameters_file=batching_parameters_file,
        monitoring_config_file=monitoring_config_file,
        ssl_config_file=ssl_config_file,
    )
    options.validate()
    if engine == "tf-serving":
        from serving.release import Release
        from serving.served_config import check_fits

        check_fits(folder, Release.load(folder))
        _become_tf_serving(options, host)
    _serve_embedded(root, options)


def _serve_embedded(root: str, options: ServerOptions) -> None:
    import contextlib
    import logging

    from vl_models.terminal import VisibleFormatter, echo

    handler = logging.StreamHandler()
    handler.setFormatter(VisibleFormatter(LOG_FORMAT))
    logging.basicConfig(handlers=[handler])
    for room in ("serving", "tfx_pipeline"):
        logging.getLogger(room).setLevel(logging.INFO)
    from serving.model_server.addresses import host_port
    from serving.model_server.models.memory import limit_arenas
    from serving.model_server.process import end_process, ended_by_signals

    limit_arenas()
    with ended_by_signals():
        from serving.model_server.server import ModelServer
    from tfx_pipeline.storage.follower import following
    from tfx_pipeline.storage.uris import is_uri

    def on_ready(server: ModelServer) -> None:
        addresses = [
            f"{kind} {address}"
            for kind, address in (
                ("gRPC", server.grpc_port and host_port(options.host, server.grpc_port)),
                ("gRPC", options.grpc_socket_path and f"unix:{options.grpc_socket_path}"),
                ("REST", server.rest_port and host_port(options.host, server.rest_port)),
            )
            if address
        ]
        echo(f"Serving {root}: {', '.join(addresses)}. Ctrl-C stops.")

    with following(root) if is_uri(root) else contextlib.nullcontext():
        has_ended = ModelServer(options).serve_forever(on_ready=on_ready)
    if not has_ended:
        end_process()


def _become_tf_serving(options: ServerOptions, host: str | None) -> None:
    """Replace this process by TensorFlow Serving, with the arguments our own server would get.

    Raises:
        ServingError: it is not on the PATH, or cannot listen on `host` alone.
    """
    from serving.errors import ServingError
    from serving.model_server.flags import to_arguments

    program = shutil.which(_TF_SERVING)
    if program is None:
        raise ServingError(
            f"--engine tf-serving needs {_TF_SERVING}, which is not on the PATH. Install the "
            "package tensorflow-model-server, or run the image tensorflow/serving with "
            f"{shlex.join(to_arguments(options))}; --engine embedded needs neither."
        )
    if host not in (None, _EVERYWHERE):
        raise ServingError(
            f"{_TF_SERVING} listens on all addresses and cannot be told otherwise. "
            f"Received: --host {host}. Leave --host out, or keep others away by a firewall."
        )
    os.dup2(sys.stderr.fileno(), 2)  # its own messages are to be seen
    os.execv(program, [_TF_SERVING, *to_arguments(options)])
