import base64
import io

import numpy as np
import pytest
from PIL import Image

from tests.serving.shop import GOODS, MORE, error_of, found


def search(client, **body):
    return client.post("/v1/search", json=body)


def encoded(kind="PNG", size=(30, 20), **options):
    stream = io.BytesIO()
    Image.new("RGB", size, (10, 200, 30)).save(stream, kind, **options)
    return stream.getvalue()


def test_a_text_finds_what_it_says_with_its_columns(client):
    answer = search(client, query="red shoe", k=2).json()
    first, second = answer["hits"]
    assert first["id"] == "red-shoe" and first["rank"] == 1 and second["rank"] == 2
    assert first["score"] == pytest.approx(1, abs=1e-5) and second["score"] < 0.999
    assert first["item"]["price"] == 40.0 and first["item"]["group"] == "shoes"
    assert first["thumbnail"] == "/thumbnails/red-shoe?release=1"
    assert (answer["release"], answer["ranking"], answer["note"]) == (1, "tower", "")
    assert answer["selected"] == len(GOODS) + MORE
    assert answer["token"] is None  # nothing is recorded
    assert {"encode", "search", "all"} <= answer["milliseconds"].keys()


def test_columns_that_an_item_lacks_are_left_out(client):
    [hit] = search(client, query="猫", k=1).json()["hits"]
    assert hit["id"] == "猫" and "price" not in hit["item"] and "group" not in hit["item"]
    assert hit["image"] == "/images/%E7%8C%AB?release=1"


def test_pages_are_one_ranking_cut_into_pieces(client):
    whole = found(search(client, query="tea pot", k=40))
    pieces = [found(search(client, query="tea pot", k=13, offset=at)) for at in (0, 13, 26)]
    assert [item for piece in pieces for item in piece] == whole[:39]
    ranks = [hit["rank"] for hit in search(client, query="x", k=3, offset=5).json()["hits"]]
    assert ranks == [6, 7, 8]
    assert (
        found(search(client, query="tea pot", k=50, offset=60))
        == found(search(client, query="tea pot", k=100))[60:]
    )


def test_more_like_an_item_leaves_the_item_out(client):
    index = client.gateway.index
    row = index.items.row_of("blue-shoe")
    cosines = index.vectors(range(len(index))) @ index.vectors([row])[0]
    cosines[row] = -2
    expected = [index.ids[place] for place in np.argsort(-cosines)[:5]]
    assert found(search(client, id="blue-shoe", k=5)) == expected


def test_a_mix_is_the_weighted_sum_of_unit_vectors(client):
    index = client.gateway.index
    shoe, bag, pot = (
        index.vectors([index.items.row_of(i)])[0] for i in ("red-shoe", "blue-bag", "tea-pot")
    )
    total = shoe + 0.5 * bag - 0.25 * pot
    scores = index.vectors(range(len(index))) @ (total / np.linalg.norm(total))
    parts = [
        {"text": "red shoe"},
        {"id": "blue-bag", "weight": 0.5},
        {"id": "tea-pot", "weight": -0.25},
    ]
    answer = search(client, queries=parts, k=4, explain=True).json()
    named = [index.items.row_of(item) for item in ("blue-bag", "tea-pot")]
    scores[named] = -2
    order = np.argsort(-scores)[:4]
    assert [hit["id"] for hit in answer["hits"]] == [index.ids[row] for row in order]
    np.testing.assert_allclose([h["score"] for h in answer["hits"]], scores[order], atol=1e-5)
    parts_of = index.vectors(order) @ np.stack([shoe, bag, pot]).T
    np.testing.assert_allclose([h["cosines"] for h in answer["hits"]], parts_of, atol=1e-5)


def test_an_image_is_searched_with_in_three_ways(client):
    data = encoded()
    text = base64.b64encode(data).decode()
    ways = [
        search(client, image=text, k=5),
        search(client, image=f"data:image/png;base64,{text}", k=5),
        client.post("/v1/search", files={"image": data}, data={"search": '{"k": 5}'}),
    ]
    assert len({tuple(found(way)) for way in ways}) == 1
    jpeg = encoded("JPEG")  # another file is another image to these towers
    assert found(search(client, image=base64.b64encode(jpeg).decode(), k=5)) != found(ways[0])


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"group": "shoes"}, {"red-shoe", "blue-shoe"}),
        ({"group": ["bags", "sport"]}, {"blue-bag", "bicycle"}),
        ({"price": {"gte": 55.5, "lt": 80}}, {"blue-shoe", "thing-56", "thing-57", "thing-58"}),
        ({"price": {"gt": 55.5}, "new": True}, {"blue-bag"}),
        ({"price": 25}, {"tea-pot", "thing-25"}),
        ({"name": {"lte": "blue bah"}}, {"blue-bag", "bicycle"}),
        ({"tags": "a", "group": "shoes"}, {"blue-shoe"}),
        ({"group": "none"}, set()),
    ],
)
def test_filters(client, condition, expected):
    answer = search(client, query="猫", k=100, filter=condition).json()
    assert {hit["id"] for hit in answer["hits"]} - {"thing-59"} == expected
    scores = [hit["score"] for hit in answer["hits"]]
    assert scores == sorted(scores, reverse=True) and answer["selected"] == len(scores)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "A search has one of query, image, id and queries"),
        ({"query": "a", "id": "red-shoe"}, "Received: 2 of them"),
        ({"query": " "}, "The query is empty; say what to look for"),
        ({"query": "a", "k": 0}, "k: Input should be greater than or equal to 1"),
        ({"query": "a", "kk": 1}, "kk: Extra inputs are not permitted"),
        ({"query": "a", "k": "3"}, "k: Input should be a valid integer"),
        ({"query": "a", "filter": {"grup": "x"}}, "no column 'grup'. Did you mean 'group'?"),
        ({"query": "a", "filter": {"price": "x"}}, "price holds numbers. Received: 'x' (str)"),
        ({"query": "a", "filter": {"price": {"over": 1}}}, "a range of price has some of gte, gt"),
        ({"query": "a", "filter": {"new": {"gt": 1}}}, "new holds truth values, which have no"),
        ({"query": "a", "rerank": 8}, "has no reranker"),
        ({"image": "no base64!"}, "image is the base64 of an image file"),
        ({"image": base64.b64encode(b"<svg/>").decode()}, "The image is none of JPEG, PNG"),
        ({"queries": [{"text": "a"}, {"text": "a", "weight": -1.0}]}, "cancel each other"),
        ({"queries": [{"text": "a", "id": "b"}]}, "a text, an image or an id: one of them"),
        ({"queries": [{"text": "a", "weight": 0.0}]}, "The weight of a part is a number"),
    ],
)
def test_what_cannot_be_searched(client, body, message):
    status, code, told = error_of(search(client, **body))
    assert (status, code) == (400, "invalid_argument") and message in told


def test_an_unknown_item_is_not_found(client):
    assert error_of(search(client, id="gone"))[:2] == (404, "not_found")
    assert error_of(client.get("/v1/items/gone"))[:2] == (404, "not_found")


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        ({"content-type": "text/plain"}, b"red shoe"),
        ({"content-type": "application/json"}, b'{"query": '),
        ({"content-type": "application/json"}, b'{"query": "\\ud800"}'),
        ({"content-type": "application/json"}, b"\xff\xfe"),
        ({"content-type": "multipart/form-data"}, b"nothing"),
        ({"content-type": "multipart/form-data; boundary=x"}, b"--x\r\nbroken"),
    ],
)
def test_bodies_that_are_none(client, headers, content):
    response = client.post("/v1/search", content=content, headers=headers)
    assert error_of(response)[:2] == (400, "invalid_argument")


def test_images_are_measured_before_they_are_decoded(serve):
    from serving.gateway.settings import GatewaySettings

    with serve(GatewaySettings(upload_pixels=100_000, upload_bytes=5000)) as client:
        wide = encoded(size=(1000, 101))
        status, _, told = error_of(client.post("/v1/search", files={"image": wide}))
        assert status == 400 and "1000 x 101 pixels; at most 100,000 are read" in told
        heavy = encoded("PNG", size=(30, 20)) + b"\0" * 5000
        status, _, told = error_of(client.post("/v1/search", files={"image": heavy}))
        assert status == 400 and "at most 5,000 are read" in told


def test_an_upload_is_turned_upright(client):
    """Towers read JPEG's orientation themselves; of other formats the picture itself is turned."""
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded("WEBP", size=(30, 20), exif=exif, lossless=True)
    from serving.gateway.uploads import checked_image

    image = Image.open(io.BytesIO(checked_image(turned, 10**6, 10**6)))
    assert image.size == (20, 30) and image.getexif().get(0x0112, 1) == 1


def test_suggestions_are_what_several_people_asked(client):
    def suggest(text):
        return client.get("/v1/suggest", params={"q": text}).json()["suggestions"]

    assert suggest("r") == ["red shoe"]  # not the query that one person asked
    assert suggest("RED  s") == ["red shoe"]
    assert suggest("shoe") == ["shoe blue", "red shoe"]  # words that begin so come after
    assert suggest("鞋") == ["红鞋"]
    assert suggest("te") == []  # of which nobody knows how many asked
    assert suggest(" ") == suggest("zzz") == []


def test_an_item_tells_what_people_found_it_by(client):
    told = client.get("/v1/items/red-shoe").json()
    assert told["queries"] == ["red shoe", "shoe blue", "红鞋"]
    assert told["item"]["link"] == "https://shop.example/red-shoe"


def test_the_collection_counts_what_each_choice_would_leave(client):
    import json

    whole = client.get("/v1/collection").json()
    assert whole["choices"]["group"] == {
        "things": MORE,
        "shoes": 2,
        "bags": 1,
        "kitchen": 1,
        "sport": 1,
    }
    assert whole["ranges"]["price"] == [0.0, 300.0]
    assert whole["columns"]["tags"] == "texts" and whole["columns"]["new"] == "boolean"
    chosen = {"group": "shoes", "new": True}
    some = client.get("/v1/collection", params={"filter": json.dumps(chosen)}).json()
    assert some["selected"] == 1
    assert some["choices"]["group"] == {
        "things": 0,
        "shoes": 1,
        "bags": 1,
        "kitchen": 0,
        "sport": 0,
    }
    assert some["choices"]["new"] == {"false": 1, "true": 1}
    assert error_of(client.get("/v1/collection", params={"filter": "[]"}))[0] == 400


def test_answers_are_kept_by_everything_that_decides_them(client):
    def is_cached(**body):
        return search(client, **body).json()["cached"]

    body = {"query": "kept", "k": 3, "filter": {"group": "shoes", "new": False}}
    assert [is_cached(**body), is_cached(**body)] == [False, True]
    assert is_cached(**{**body, "filter": {"new": False, "group": "shoes"}})
    for change in (
        {"k": 4},
        {"offset": 1},
        {"filter": {}},
        {"explain": True},
        {"rerank": 0},
        {"query": "kepT"},
    ):
        assert not is_cached(**{**body, **change}), change
    metrics = client.get("/metrics").text
    assert 'vlsearch_cache_total{hit="true"}' in metrics
