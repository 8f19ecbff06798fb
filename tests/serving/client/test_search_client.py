"""The search service's clients, and the distribution that they are."""

import asyncio
import io
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from scripts.build_client import build
from serving.client import AsyncSearchClient, SearchClient
from serving.errors import Code, ServingError, StatusError
from serving.gateway.settings import ClickLogSettings, GatewaySettings

REPOSITORY = Path(__file__).resolve().parents[3]


def test_searching_suggesting_and_clicking(serve, tmp_path):
    log = ClickLogSettings(tmp_path / "log")
    with serve(GatewaySettings(log=log)) as http, SearchClient(str(http.base_url)) as client:
        assert client.is_ready()
        answer = client.search("red shoe", k=3, filter={"group": "shoes"}, session="me")
        assert answer.hits[0].id == "red-shoe"
        assert (len(answer.hits), answer.selected, answer.release) == (2, 2, 1)
        assert answer.hits[0].item["price"] == 40.0
        assert client.click(answer, "red-shoe") and not client.click(answer.token, "red-shoe")
        assert client.suggest("red") == ["red shoe"]
        assert client.item("tea-pot")["item"]["name"] == "tea pot"
        assert client.collection()["ranges"]["price"] == [0.0, 300.0]
        assert Image.open(io.BytesIO(client.thumbnail("猫"))).format == "WEBP"
        picture = tmp_path / "a.png"
        picture.write_bytes(client.image("red-shoe"))
        by_path, by_bytes = client.search(image=picture), client.search(image=picture.read_bytes())
        assert by_path.hits == by_bytes.hits and by_path.token is None
        mixed = client.search(
            queries=[{"image": picture}, {"id": "tea-pot", "weight": -0.5}], explain=True
        )
        assert len(mixed.hits[0].cosines) == 2
        with pytest.raises(ServingError, match="records nothing of this answer"):
            client.click(by_path, "red-shoe")


def test_what_a_service_refuses(serve):
    with serve() as http, SearchClient(str(http.base_url)) as client:
        with pytest.raises(StatusError, match="There is no item 'gone'") as raised:
            client.search(id="gone")
        assert raised.value.code == Code.NOT_FOUND
        with pytest.raises(StatusError, match="A search has one of query") as raised:
            client.search()
        assert raised.value.code == Code.INVALID_ARGUMENT
    client = SearchClient(str(http.base_url))
    assert not client.is_ready()
    with pytest.raises(StatusError, match="No search service answers at http") as raised:
        client.search("red shoe")
    assert raised.value.code == Code.UNAVAILABLE


def test_with_asyncio(serve):
    async def ask(url):
        async with AsyncSearchClient(url) as client:
            answers = await asyncio.gather(*(client.search("tea pot", k=n) for n in (1, 2, 3)))
            return [len(answer.hits) for answer in answers], await client.suggest("红")

    with serve() as http:
        assert asyncio.run(ask(str(http.base_url))) == ([1, 2, 3], ["红鞋"])


@pytest.mark.slow
def test_the_distribution_works_alone(serve, tmp_path):
    """Installed into an environment without anything else, it searches."""
    wheel = build(tmp_path)
    uv = str(Path(sys.executable).with_name("uv"))
    place = tmp_path / "clean"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, place], check=True)
    python = str(place / "bin" / "python")
    lock = ["--constraint", str(REPOSITORY / "requirements.lock")]
    install = [uv, "pip", "install", "--quiet", "--python", python, *lock, f"{wheel}[images]"]
    subprocess.run(install, check=True, cwd=tmp_path)
    code = """
import sys
from serving.client import AsyncPredictClient, PredictClient, SearchClient
from serving.images import servable_image
with SearchClient(sys.argv[1]) as client:
    print(client.search("red shoe", k=1).hits[0].id)
    print(len(servable_image(client.thumbnail("猫"))) > 0)
print(any(name.split(".")[0] in ("tensorflow", "fastapi", "pyarrow") for name in sys.modules))
"""
    with serve() as http:
        done = subprocess.run(
            [python, "-I", "-c", code, str(http.base_url)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
        )
    assert done.stdout.split() == ["red-shoe", "True", "False"], done.stderr
