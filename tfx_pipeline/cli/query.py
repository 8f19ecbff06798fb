"""`vlsearch query`: asks a server for images."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tfx_pipeline.cli.places import ReleaseOption, ServerOption, release_root

if TYPE_CHECKING:
    from serving.reranking import Hits


def query(
    text: Annotated[str, typer.Argument(help="What to look for, in any language.")],
    k: Annotated[int, typer.Option("-k", min=1, help="Number of images.")] = 8,
    server: ServerOption = None,
    release: ReleaseOption = "build/demo/serving",
    rerank: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="How many of the towers' first images the reranker scores; 0 none, by default as "
            "many as the release says.",
        ),
    ] = None,
    deadline: Annotated[
        float | None,
        typer.Option(
            "--rerank-deadline",
            metavar="SECONDS",
            help="Keep the towers' order if reranking takes longer.",
        ),
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(
            "--rerank-order",
            metavar="ORDER",
            help="score, or sum: cosine + weight · score; by default as the release says.",
        ),
    ] = None,
    weight: Annotated[
        float | None,
        typer.Option("--rerank-weight", metavar="X", help="Of the score in the sum."),
    ] = None,
    condition: Annotated[
        str,
        typer.Option(
            "--filter",
            metavar="JSON",
            help='Only items that fit, such as {"group": "shoes", "price": {"lt": 50}}.',
        ),
    ] = "{}",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object instead of a table.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write a contact sheet.")
    ] = None,
) -> None:
    """Search: the query goes over gRPC to the text tower, its vector to the index.

    A release with a reranker has the first images ordered by that.
    """
    from rich.table import Table

    from serving.arguments import check_query
    from vl_models.errors import UserError
    from vl_models.terminal import cell, console, echo

    if not text.isascii():
        # What the locale's encoding cannot read of the command line; people mean UTF-8.
        with contextlib.suppress(UnicodeError):
            text = text.encode("ascii", "surrogateescape").decode("utf-8")
    check_query(text)
    if html is not None and (html.is_dir() or not html.parent.is_dir()):
        raise UserError(f"--html names a file in an existing folder. Received: {html}.")

    conditions = _conditions(condition)
    root = release_root(release)
    if server is None:
        from serving.release import Release

        Release.load(root)  # complains at once; starting a server takes seconds

    from serving.client import PredictClient
    from serving.query_parts import QueryPart
    from serving.search import SearchRequest, SearchService, embedded_server

    with embedded_server(root) if server is None else PredictClient(server) as client:
        service = SearchService(root, client)
        if conditions:
            request = SearchRequest(
                [QueryPart(text=text)],
                k,
                filter=conditions,
                rerank=rerank,
                deadline=deadline,
                order=order,
                weight=weight,
            )
            hits = service.answer(request).hits
        else:
            [hits] = service.search(
                [text], k, rerank, deadline=deadline, order=order, weight=weight
            )
    if html is not None:
        from serving.files import write_atomically
        from tfx_pipeline.report.contact_sheet import render_contact_sheet

        write_atomically(html, render_contact_sheet(text, hits))
    if as_json:
        echo(_as_json(text, hits))
        return
    is_reranked = hits.ranking == "reranker"
    table = Table(title=cell(text if len(text) <= 80 else f"{text[:79]}…"))
    for column in ("rank", "score", *(["reranker"] if is_reranked else [])):
        table.add_column(column, justify="right")
    for column in ("image", "uri"):
        table.add_column(column, overflow="fold")
    for rank, hit in enumerate(hits, start=1):
        second = "" if hit.rerank_score is None else f"{hit.rerank_score:.4f}"
        scores = (f"{hit.score:.4f}", *([second] if is_reranked else []))
        table.add_row(str(rank), *scores, cell(hit.id), cell(hit.uri))
    console().print(table)
    if is_reranked:
        echo("Order: the reranker's.")
    if hits.note:
        echo(hits.note)
    if html is not None:
        echo(f"Contact sheet: {html}")


def _conditions(text: str) -> dict[str, Any]:
    """Return a filter.

    Raises:
        UserError: it is no JSON object.
    """
    from vl_models.errors import UserError

    try:
        conditions = json.loads(text)
    except (ValueError, RecursionError):
        conditions = None
    if not isinstance(conditions, dict):
        raise UserError(f"--filter is a JSON object of conditions by column. Received: {text}")
    return conditions


def _as_json(text: str, hits: Hits) -> str:
    found = [
        {
            "id": hit.id,
            "uri": hit.uri,
            "rank": rank,
            "score": hit.score,
            "rerank_score": hit.rerank_score,
            "item": hit.item,
        }
        for rank, hit in enumerate(hits, start=1)
    ]
    answer = {
        "query": text,
        "release": hits.release,
        "ranking": hits.ranking,
        "note": hits.note,
        "hits": found,
    }
    return json.dumps(answer, ensure_ascii=True, indent=2)
