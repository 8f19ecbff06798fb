from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from tfx_pipeline.cli.places import for_weights
from vl_models.errors import UserError

app = typer.Typer()


@app.command()
def show(run: Annotated[Path | None, typer.Option(callback=for_weights)] = None) -> None:
    typer.echo(run)


def shown(*arguments):
    result = CliRunner().invoke(app, [*map(str, arguments)])
    if result.exception:
        raise result.exception
    return result.stdout.removesuffix("\n")


def test_a_folder_for_weights_is_named_as_tensorflow_can_read_it(tmp_path, monkeypatch):
    shop = tmp_path / "[2024] shop"
    shop.mkdir()
    assert shown() == ""
    assert shown("--run", tmp_path / "run") == str(tmp_path / "run")
    with pytest.raises(UserError, match=r"takes \[ and \\ for a pattern"):
        shown("--run", shop / "run")
    monkeypatch.chdir(shop)
    assert shown("--run", shop / "run") == "run"
    with pytest.raises(UserError, match="--run names a folder there"):
        shown("--run", "s3://bucket/run")
