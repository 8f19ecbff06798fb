"""`vlsearch caption` over real files and a real server."""

import json

import numpy as np
import pytest
from PIL import Image

from serving.model_server.options import release_options
from serving.model_server.server import ModelServer
from serving.publish import publish_release
from tests.tfx_pipeline.conftest import vlsearch
from tests.vl_models.tiny_systems import TOKENIZER, make_config
from vl_models.export import export_members
from vl_models.models.registry import build_model


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A release with a captioner, untrained."""
    folder = tmp_path_factory.mktemp("captions")
    text = {"width": 8, "depth": 1, "heads": 1}
    model = build_model(make_config("coca", text=text, queries=2, pooler_heads=1))
    towers = export_members(model, TOKENIZER, folder)
    publish_release(folder / "root", 1, towers, None)
    return folder / "root"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for number, form in enumerate(("png", "jpg")):
        pixels = np.full((20, 30, 3), 90 * number, np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.{form}")
    return sorted(str(path) for path in folder.iterdir())


def test_captions_are_printed_with_their_images(root, images):
    shown = vlsearch("caption", *images, "--release", str(root))
    assert shown.returncode == 0 and all(name in shown.stdout for name in ("0.png", "1.jpg"))
    with ModelServer(release_options(root, port=None, rest_api_port=0)) as server:
        address = f"127.0.0.1:{server.grpc_port}"
        rows = vlsearch("caption", *images, "--server", address, "--json").stdout.splitlines()
    found = [json.loads(row) for row in rows]
    assert [row["image"] for row in found] == images
    for row in found:
        assert row["score"] < 0.0 and row["caption"] in shown.stdout


def test_what_is_missing_is_named(root, images, tmp_path):
    missing = str(tmp_path / "none.png")
    result = vlsearch("caption", missing, "--release", str(root), check=False)
    assert result.returncode == 2 and f"The image {missing} cannot be read" in result.stderr
    towers = {name: root / name / "1" for name in ("text_tower", "image_tower")}
    publish_release(tmp_path / "towers", 1, towers, None)
    folder = str(tmp_path / "towers")
    result = vlsearch("caption", *images, "--release", folder, check=False)
    assert result.returncode == 2 and "has no captioner" in result.stderr
