"""`vlsearch search`: the search service, its page and its API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tfx_pipeline.cli.places import release_root

_LOCAL = "127.0.0.1"
_LIMIT_ELSEWHERE = 50.0


def search(
    release: Annotated[
        str,
        typer.Argument(
            metavar="RELEASE_ROOT",
            help="Folder with release.json: a path, s3:// or gs://.",
        ),
    ],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = _LOCAL,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8080,
    server: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST:PORT",
            help="A running model server of this root; may be repeated. Without it one is started.",
        ),
    ] = None,
    log_to: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Record what is shown and clicked in this data folder, made if it is missing.",
        ),
    ] = None,
    no_log: Annotated[
        bool, typer.Option("--no-log", help="Record nothing; this is so without --log-to, too.")
    ] = False,
    explore: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Share of the pairs of neighbours that change places, to measure propensities.",
        ),
    ] = 0.0,
    log_without: Annotated[
        list[str] | None,
        typer.Option(metavar="REGEX", help="Queries that are not recorded; may be repeated."),
    ] = None,
    keep_days: Annotated[
        int | None, typer.Option(min=1, help="Delete recorded days before the last so many.")
    ] = None,
    rerank_deadline: Annotated[
        float,
        typer.Option(metavar="SECONDS", help="Keep the towers' order if reranking takes longer."),
    ] = 1.0,
    token_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Holds the secret that requests have to bring."),
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Signs impressions: the same in all services behind one address. Without it a key "
            "is drawn at each start.",
        ),
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A name that the service is called by; may be repeated."),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(metavar="https://NAME", help="Pages that may use the API; may be repeated."),
    ] = None,
    rate_limit: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Requests a second of one client; 0 does not count. By default 0 on loopback, "
            "50 elsewhere.",
        ),
    ] = None,
    client_header: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Header in which a proxy says who asks, such as X-Forwarded-For."
        ),
    ] = None,
    image_root: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PLACE",
            help="Folder or bucket prefix of images beside the index's own; may be repeated.",
        ),
    ] = None,
    image_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Web server that images may come from; may be repeated."),
    ] = None,
) -> None:
    """The search service: a page for people, an API for programs, and a log of their clicks.

    Serves the current release of a root and follows those that are published later. API and page
    are described at /docs. Stops at Ctrl-C.
    """
    import contextlib

    from serving.loopback import is_loopback
    from serving.release import Release
    from tfx_pipeline.storage.follower import following
    from tfx_pipeline.storage.uris import is_uri
    from vl_models.errors import UserError
    from vl_models.terminal import echo

    if log_to is not None and no_log:
        raise UserError("--log-to and --no-log exclude each other: give one of them.")
    logging_options = (explore, log_without, keep_days)
    if log_to is None and any(logging_options):
        raise UserError("--explore, --log-without and --keep-days say how to log: give --log-to.")
    root = release_root(release)
    Release.load(root)  # complains at once; starting a server takes seconds

    from serving.gateway.server import run_search_service
    from serving.gateway.settings import ClickLogSettings, GatewaySettings

    if rate_limit is None:
        rate_limit = (
            0.0 if is_loopback(host) and host not in ("0.0.0.0", "::") else _LIMIT_ELSEWHERE
        )
    log = None
    if log_to is not None:
        log = ClickLogSettings(log_to, explore, tuple(log_without or ()), keep_days)
    settings = GatewaySettings(
        log=log,
        token_key=_secret(key_file, "--key-file") if key_file else b"",
        rerank_seconds=rerank_deadline,
        bearer_token=_token(token_file) if token_file else None,
        allowed_hosts=tuple(allowed_host or ()),
        cors_origins=tuple(cors_origin or ()),
        requests_per_second=rate_limit or None,
        client_header=client_header,
        image_roots=tuple(image_root or ()),
        image_hosts=tuple(image_host or ()),
    )
    if not is_loopback(host) and settings.bearer_token is None:
        echo(
            "Whoever reaches this address can search: --token-file asks for a secret.", stderr=True
        )

    def on_ready(server, gateway) -> None:  # type: ignore[no-untyped-def]
        recorded = f"Clicks are recorded in {log_to}." if log_to else "Clicks are not recorded."
        echo(f"Searching release {gateway.release} of {root}: {server.url}")
        echo(f"{recorded} The API is described at {server.url}docs. Ctrl-C stops.")

    with following(release) if is_uri(release) else contextlib.nullcontext():
        run_search_service(
            root, settings, host=host, port=port, servers=server or (), on_ready=on_ready
        )


def _secret(path: Path, option: str) -> bytes:
    """Return what a file of a secret holds.

    Raises:
        UserError: it is not there, or too short to be one.
    """
    from serving import files
    from vl_models.errors import UserError

    secret = files.read_bytes(path).strip()
    if len(secret) < 16:
        raise UserError(f"{option} names a file that holds at least 16 characters: {path}.")
    return secret


def _token(path: Path) -> str:
    """Return the token that a file holds.

    Raises:
        UserError: it is not there, too short to be one, or no text.
    """
    from vl_models.errors import UserError

    try:
        return _secret(path, "--token-file").decode()
    except UnicodeDecodeError:
        raise UserError(f"--token-file names a file of UTF-8 text: {path}.") from None
