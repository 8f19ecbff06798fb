"""A release root whose models are files of the right names: nothing here loads them."""

import pytest

from serving.manifests import Settings, generate, write_folder
from serving.manifests.storage import parse_storage
from serving.publish import publish_release
from tests.serving.manifests.kustomize import build


@pytest.fixture(scope="session")
def plain_root(tmp_path_factory):
    """Releases 1 and 2 of two towers, without an index."""
    base = tmp_path_factory.mktemp("plain")
    for version in (1, 2):
        towers = {}
        for name in ("text_tower", "image_tower"):
            towers[name] = base / f"{name}-{version}"
            towers[name].mkdir()
            (towers[name] / "saved_model.pb").write_text(f"{name} {version}")
        publish_release(base / "root", version, towers, index=None)
    return base / "root"


@pytest.fixture
def manifests(tmp_path, plain_root):
    """(storage, other settings) -> folder of generated manifests."""

    def manifests(storage="pvc:releases", root=plain_root, **settings):
        folder = tmp_path / "manifests"
        chosen = Settings(storage=parse_storage(storage), **settings)
        write_folder(folder, generate(root, chosen), {})
        return folder

    return manifests


@pytest.fixture
def deployed(manifests):
    """(overlay, storage, other settings) -> objects by kind, as kustomize would apply them.

    "files" has the files of all ConfigMaps.
    """

    def deployed(overlay="cpu", *arguments, **settings):
        documents = build(manifests(*arguments, **settings) / "overlays" / overlay)
        objects = {document["kind"]: document for document in documents}
        maps = [document["data"] for document in documents if document["kind"] == "ConfigMap"]
        return objects | {"files": {name: text for data in maps for name, text in data.items()}}

    return deployed
