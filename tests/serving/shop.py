"""A small shop: pictures with columns, towers that look things up, a service on a real socket."""

import contextlib
import json
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw

from serving.gateway.server import GatewayServer, open_gateway
from serving.gateway.settings import GatewaySettings
from serving.index import build_index
from serving.logged_queries import QUERIES_SCHEMA
from serving.publish import publish_release

# Name, Chinese name, group, price, colour.
GOODS = [
    ("red shoe", "红鞋", "shoes", 40.0, (210, 40, 50)),
    ("blue shoe", "蓝鞋", "shoes", 55.5, (40, 70, 210)),
    ("blue bag", "蓝包", "bags", 80.0, (50, 90, 200)),
    ("tea pot", "茶壶", "kitchen", 25.0, (90, 160, 90)),
    ("bicycle", "自行车", "sport", 300.0, (60, 60, 60)),
    ("猫", "猫", None, None, (240, 180, 90)),
]
MORE = 60  # goods without a name of their own, so that pages have something to grow by


def item_id(name):
    return name.replace(" ", "-")


def draw(path, colour, mark):
    image = Image.new("RGB", (200, 150), (250, 250, 250))
    ImageDraw.Draw(image).ellipse((30, 20, 170, 130), fill=colour)
    ImageDraw.Draw(image).text((5, 5), mark, fill=(0, 0, 0))
    image.save(path)


def make_shop(folder: Path) -> dict[str, Path]:
    """Towers, pictures and an index in a folder."""
    import tensorflow as tf

    from tests.serving.conftest import BUCKETS, _save_tower, _table

    towers = {"text_tower": folder / "text", "image_tower": folder / "image"}
    _save_tower(towers["text_tower"], 1, "encode_text")
    _save_tower(towers["image_tower"], 1, "encode_image")
    pictures = folder / "pictures"
    pictures.mkdir()
    goods = [*GOODS, *((f"thing {n:02d}", None, "things", float(n), None) for n in range(MORE))]
    ids = [item_id(name) for name, *_ in goods]
    for (name, *_, colour), item in zip(goods, ids):
        draw(pictures / f"{item}.png", colour or (hash_of(name), 120, 140), name[:5])
    # An item is what its name says, and a little what its neighbours are.
    table = _table(1)
    rows = tf.strings.to_hash_bucket_fast([name.lower() for name, *_ in goods], BUCKETS).numpy()
    vectors = table[rows]
    items = pa.table(
        {
            "name": [name for name, *_ in goods],
            "name_zh": pa.array([zh for _, zh, *_ in goods], pa.string()),
            "group": pa.array([group for *_, group, _, _ in goods], pa.string()),
            "price": pa.array([price for *_, price, _ in goods], pa.float64()),
            "link": [
                "javascript:alert(1)" if item == "tea-pot" else f"https://shop.example/{item}"
                for item in ids
            ],
            "new": [item.startswith("blue") for item in ids],
            "tags": pa.array([["a", "b"] if n % 2 else ["b"] for n in range(len(ids))]),
        }
    )
    asked = [
        ("red shoe", 9, 8, ["red-shoe"]),
        ("red shoes for me", 3, 1, ["red-shoe"]),  # one person's
        ("shoe blue", 5, 6, ["blue-shoe", "red-shoe"]),
        ("红鞋", 7, 7, ["red-shoe"]),
        ("tea", 4, None, ["tea-pot"]),  # nobody counted
    ]
    queries = pa.table(
        {
            "query": [query for query, *_ in asked],
            "language": ["zh" if not query.isascii() else "en" for query, *_ in asked],
            "clicks": [clicks for _, clicks, *_ in asked],
            "sessions": pa.array([sessions for *_, sessions, _ in asked], pa.int64()),
            "images": [images for *_, images in asked],
            "image_clicks": [list(range(len(images), 0, -1)) for *_, images in asked],
        }
    ).cast(QUERIES_SCHEMA)
    build_index(
        vectors,
        ids,
        [str(pictures / f"{item}.png") for item in ids],
        folder / "index",
        source_prefix=str(pictures),
        items=items,
        queries=queries,
    )
    return {**towers, "index": folder / "index", "pictures": pictures}


def hash_of(name):
    return int(np.frombuffer(name.encode(), np.uint8).sum() % 256)


@pytest.fixture(scope="session")
def shop(tmp_path_factory):
    """Folders of the towers, the index and the pictures."""
    return make_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="session")
def publish_shop(shop):
    """(root, version) -> the shop's release of that number."""

    def publish(root, version=1):
        towers = {name: shop[name] for name in ("text_tower", "image_tower")}
        return publish_release(root, version, towers, shop["index"], metrics={"recall@10": 0.5})

    return publish


@pytest.fixture(scope="session")
def shop_root(publish_shop, tmp_path_factory):
    """A release root that nobody changes."""
    root = tmp_path_factory.mktemp("shop_root") / "release"
    publish_shop(root)
    return root


@pytest.fixture
def serve(shop_root):
    """(settings, root) -> a client of a service of its own, as a context manager."""

    @contextlib.contextmanager
    def serve(settings=None, root=None, access_log=None, host="127.0.0.1"):
        with (
            open_gateway(root or shop_root, settings or GatewaySettings()) as gateway,
            GatewayServer(gateway, host, access_log=access_log) as server,
            httpx.Client(base_url=server.url, trust_env=False, timeout=30) as client,
        ):
            client.gateway = gateway
            yield client

    return serve


def found(response):
    """Ids of an answer's hits."""
    assert response.status_code == 200, response.text
    return [hit["id"] for hit in response.json()["hits"]]


def error_of(response):
    """Status, code and sentence of an error."""
    assert response.headers["content-type"] == "application/json"
    error = json.loads(response.content)["error"]
    return response.status_code, error["code"], error["message"]
