"""`vlsearch caption`: asks a server what is on images."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import typer

from tfx_pipeline.cli.places import ReleaseOption, ServerOption, release_root

_BATCH = 32
# As vl_models.members names them, which imports TensorFlow: a client of a server does without.
_CAPTIONER, _CAPTION, _IMAGE_BYTES = "captioner", "caption", "image_bytes"


def caption(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="JPEG or PNG files.")],
    server: ServerOption = None,
    release: ReleaseOption = "build/coca/serving",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object per image instead of a table.")
    ] = False,
) -> None:
    """Write captions: the images go over gRPC to the captioner of a release."""
    encoded = [_read(path) for path in images]

    from serving.client import PredictClient
    from serving.release import Release
    from serving.search import embedded_server
    from vl_models.errors import UserError
    from vl_models.terminal import cell, console, echo

    context: AbstractContextManager[PredictClient]
    if server is None:
        root = release_root(release)
        models = Release.load(root).models
        if _CAPTIONER not in models:
            raise UserError(
                f"The release in {root} has no captioner; it has {', '.join(sorted(models))}. "
                "Train a system that writes captions, for example with configs/coca.yaml."
            )
        context = embedded_server(root)
    else:
        context = PredictClient(server)
    found = []
    with context as client:
        for start in range(0, len(encoded), _BATCH):
            rows = {_IMAGE_BYTES: encoded[start : start + _BATCH]}
            answer = client.predict(_CAPTIONER, rows, signature_name=_CAPTION)
            found += list(zip(answer["caption"], answer["score"]))
    captions = [(text.decode("utf-8"), float(score)) for text, score in found]
    if as_json:
        for path, (text, score) in zip(images, captions):
            row = {"image": str(path), "caption": text, "score": score}
            echo(json.dumps(row, ensure_ascii=True))
        return
    from rich.table import Table

    table = Table()
    table.add_column("image", overflow="fold")
    table.add_column("caption", overflow="fold")
    table.add_column("score", justify="right")
    for path, (text, score) in zip(images, captions):
        table.add_row(cell(str(path)), cell(text), f"{score:.3f}")
    console().print(table)


def _read(path: Path) -> bytes:
    """Return a file's content.

    Raises:
        UserError: there is no such file.
    """
    from vl_models.errors import UserError

    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"The image {path} cannot be read: {error.strerror}.") from error
