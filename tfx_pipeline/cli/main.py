"""`vlsearch`: the commands, and one place where errors become readable."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from tfx_pipeline.cli import (
    caption,
    compare,
    config,
    data,
    evaluate,
    kubeflow,
    query,
    rollback,
    run,
    search,
    serve,
    serving,
    train,
    tune,
    weights,
)
from tfx_pipeline.cli.logs import debugging, hide_native_messages, log_folder
from tfx_pipeline.cli.places import named_to_write
from vl_models.terminal import echo, prepare_output, styled, without_passwords

app = typer.Typer(
    name="vlsearch",
    help="Vision-language search: from a click log to TF Serving queries.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # what is in brackets is text
    context_settings={"max_content_width": 100},
)
app.add_typer(data.app, name="data")
app.add_typer(weights.app, name="weights")
app.add_typer(kubeflow.app, name="kubeflow")
app.add_typer(serving.app, name="serving")
app.command("run")(run.run)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("compare")(compare.compare)
app.command("tune")(tune.tune)
app.command("config")(config.config)
app.command("serve")(serve.serve)
app.command("query")(query.query)
app.command("caption")(caption.caption)
app.command("search")(search.search)
app.command("rollback")(rollback.rollback)


@app.callback()
def options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks and the libraries' log messages.")
    ] = False,
) -> None:
    """Vision-language search: from a click log to TF Serving queries."""
    if debug:
        os.environ["VLSEARCH_DEBUG"] = "1"
    else:
        # Before TensorFlow is imported; its C++ side reads the variable then.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    hide_native_messages()


@app.command()
def version() -> None:
    """Print the version of vlsearch and of the libraries that matter."""
    from importlib import metadata

    for package in ("vlsearch", "tensorflow", "keras", "tfx", "apache-beam"):
        echo(f"{package} {metadata.version(package)}")


def main() -> None:
    """Run the command line: wrong input is one paragraph and exit code 2.

    Exit codes: 0 done; 1 something unexpected, a folder in use, a full disk, or a run that
    released nothing; 2 wrong input; 130 stopped by a signal, or because another worker ended: to
    be continued.
    """
    from serving.errors import DiskError, ServingError
    from serving.loopback import bypass_proxies
    from tfx_pipeline.disk_errors import explain_disk_error
    from vl_models.errors import Interrupted, Unavailable, UserError

    bypass_proxies()  # before anything connects, or starts a process that does
    prepare_output()
    try:
        sys.exit(app(standalone_mode=False))
    except Interrupted as stop:
        echo(f"Stopped: {stop}", stderr=True)
        sys.exit(130)
    except Exception as error:
        if hasattr(error, "format_message"):  # Typer's, of the command line
            _show_usage_error(error)
            sys.exit(getattr(error, "exit_code", 2))
        if debugging():
            raise
        wrong_input = isinstance(error, UserError | ServingError)
        known = wrong_input or isinstance(error, Unavailable)
        text = str(error) if known else explain_disk_error(error, named_to_write() or log_folder())
        _show_error(text or f"{type(error).__name__}: {error}")
        if text is None:
            where = "This was not expected; `vlsearch --debug …` shows where it happened."
            echo(where, stderr=True)
            if sys.flags.optimize > 1:
                echo(
                    "Python was told to leave docstrings out, which Apache Beam needs: unset "
                    "PYTHONOPTIMIZE, or set it to 1.",
                    stderr=True,
                )
        sys.exit(2 if wrong_input and not isinstance(error, DiskError) else 1)


def _show_error(text: str) -> None:
    echo(styled("Error:", "bold red", f" {without_passwords(text)}"), stderr=True)


def _show_usage_error(error: Any) -> None:
    """Say what is wrong with a command line, and how it should be."""
    message = error.format_message()
    if not message:  # a group of commands without one: its help has been shown
        return
    context = getattr(error, "ctx", None)
    if context is not None:
        echo(context.get_usage(), stderr=True)
        echo(f"`{context.command_path} --help` says more.", stderr=True)
    _show_error(message)
