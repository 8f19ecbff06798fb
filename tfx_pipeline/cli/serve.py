"""`vlsearch serve`: the embedded model server over a release root."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def serve(
    root: Annotated[Path, typer.Argument(help="Release root, the folder with release.json.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="gRPC port.")] = 8500,
    rest_port: Annotated[
        int, typer.Option(min=0, max=65535, help="REST port; 0 turns REST off.")
    ] = 8501,
) -> None:
    """Serve a release with TF Serving's gRPC and REST API, and follow new releases.

    The embedded server is TF Serving's local twin: the same requests and the same
    models.config work with both. Use TF Serving itself in production.
    """
    from serving.release import Release

    Release.load(root)  # complains at once; what follows takes seconds to import

    import logging

    from rich.console import Console

    from tfx_pipeline.cli.logs import hide_native_messages

    hide_native_messages()
    logging.basicConfig(format="%(asctime)s %(levelname).1s %(name)s: %(message)s")
    logging.getLogger("serving").setLevel(logging.INFO)
    from serving.model_server.server import ModelServer, serve_release

    def on_ready(server: ModelServer) -> None:
        Console().print(
            f"Serving {root}: gRPC {host}:{server.grpc_port}"
            + (f", REST {host}:{server.rest_port}" if server.rest_port else "")
            + ". Ctrl-C stops.",
            highlight=False,
            soft_wrap=True,
        )

    serve_release(root, host=host, port=port, rest_port=rest_port, on_ready=on_ready)
