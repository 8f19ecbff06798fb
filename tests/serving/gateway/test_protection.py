"""Attacks: names that are not ours, other sites' pages, secrets, floods, files of others."""

import io
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
from PIL import Image

from serving.errors import ServingError
from serving.gateway.settings import ClickLogSettings, GatewaySettings
from serving.image_store import ImageStore
from tests.serving.shop import error_of, found

SECRET = "a secret of some length"


def search(client, **headers):
    return client.post("/v1/search", json={"query": "red shoe", "k": 2}, headers=headers)


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", ""])
def test_another_name_for_this_machine_is_not_answered(client, host):
    for path in ("/", "/v1/suggest?q=a", "/images/red-shoe", "/healthz"):
        assert error_of(client.get(path, headers={"host": host}))[:2] == (403, "unknown_host")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1234", "[::1]:80", "127.1.2.3"])
def test_names_of_loopback_are_ours(client, host):
    assert search(client, host=host).status_code == 200


def test_a_service_for_others_has_names(serve):
    settings = GatewaySettings(allowed_hosts=["search.shop.example"])
    with serve(settings, host="0.0.0.0") as client:
        port = client.base_url.port
        client.base_url = f"http://127.0.0.1:{port}"
        assert search(client, host="search.shop.example").status_code == 200
        assert search(client, host="10.1.2.3:80").status_code == 200  # no name that can be turned
        assert error_of(search(client, host="evil.example"))[1] == "unknown_host"


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_pages_of_other_sites_change_nothing(client, headers):
    assert error_of(search(client, **headers))[:2] == (403, "other_origin")
    event = client.post("/v1/events", json={"token": "x", "id": "y"}, headers=headers)
    assert error_of(event)[:2] == (403, "other_origin")
    assert error_of(client.delete("/v1/session", headers=headers))[:2] == (403, "other_origin")


def test_our_own_page_and_programs_may(client):
    own = f"http://{client.base_url.netloc.decode()}"
    assert search(client, origin=own, **{"sec-fetch-site": "same-origin"}).status_code == 200
    assert "access-control-allow-origin" not in search(client, origin=own).headers


def test_pages_that_are_named_may(serve):
    with serve(GatewaySettings(cors_origins=["https://shop.example"])) as client:
        answer = search(client, origin="https://shop.example")
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"
        asked = {"origin": "https://shop.example", "access-control-request-method": "POST"}
        assert client.options("/v1/search", headers=asked).status_code == 200
        assert error_of(search(client, origin="https://evil.example"))[1] == "other_origin"


def test_a_secret_is_asked_for(serve):
    with serve(GatewaySettings(bearer_token=SECRET)) as client:
        for path in ("/v1/collection", "/images/red-shoe", "/metrics", "/docs", "/openapi.json"):
            answer = client.get(path)
            assert error_of(answer)[:2] == (401, "unauthenticated")
            assert answer.headers["www-authenticate"] == "Bearer"
        for path in ("/", "/static/app.js", "/healthz", "/readyz"):
            assert client.get(path).status_code == 200
        assert error_of(search(client, authorization=f"Bearer {SECRET[:-1]}"))[0] == 401
        right = {"authorization": f"Bearer {SECRET}"}
        assert search(client, **right).status_code == 200
        assert client.post("/v1/access", headers=right).status_code == 204
        cookie = client.cookies["vlsearch_access"]
        assert SECRET not in cookie
        assert client.get("/images/red-shoe").status_code == 200  # by the cookie alone
        client.cookies.set("vlsearch_access", cookie[:-1])
        client.cookies.delete("vlsearch_access", domain="127.0.0.1")
        assert client.get("/images/red-shoe").status_code == 401


def test_too_many_requests_are_told_when_to_come_again(serve):
    with serve(GatewaySettings(requests_per_second=2)) as client:
        answers = [search(client) for _ in range(12)]
        statuses = [answer.status_code for answer in answers]
        assert statuses[:8] == [200] * 8 and 429 in statuses
        refused = answers[statuses.index(429)]
        assert int(refused.headers["retry-after"]) >= 1
        assert client.get("/healthz").status_code == 200
        # A header that clients write themselves makes nobody another client.
        assert search(client, **{"x-forwarded-for": "10.9.9.9"}).status_code == 429


def test_behind_a_proxy_its_last_word_counts(serve):
    settings = GatewaySettings(requests_per_second=1, client_header="X-Forwarded-For")
    with serve(settings) as client:
        first = [search(client, **{"x-forwarded-for": f"{n}, 10.0.0.1"}) for n in range(9)]
        assert 429 in {answer.status_code for answer in first}
        assert search(client, **{"x-forwarded-for": "10.0.0.1, 10.0.0.2"}).status_code == 200


def test_bodies_that_are_too_large(serve):
    with serve(GatewaySettings(request_bytes=2000)) as client:
        body = json.dumps({"query": "x" * 3000})
        headers = {"content-type": "application/json"}
        answer = client.post("/v1/search", content=body, headers=headers)
        assert error_of(answer)[:2] == (413, "too_large")
        pieces = (piece.encode() for piece in (body[:1000], body[1000:]))  # says no length
        answer = client.post("/v1/search", content=pieces, headers=headers)
        assert error_of(answer)[:2] == (413, "too_large")


def test_browsers_are_told_what_the_page_may_do(client):
    policy = client.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self';" in policy
    assert "unsafe" not in policy and "frame-ancestors 'none'" in policy
    picture = client.get("/images/red-shoe").headers
    assert picture["content-security-policy"] == "default-src 'none'; sandbox"
    assert picture["x-content-type-options"] == "nosniff"
    assert client.get("/nothing").headers["x-frame-options"] == "DENY"


def test_the_page_loads_nothing_from_elsewhere(client):
    for path in ("/", "/docs"):
        text = client.get(path).text
        assert "http://" not in text.replace("http://www.w3.org", "") and "https://" not in text
    assert client.get("/static/docs/swagger-ui-bundle.js").status_code == 200


def test_logs_hold_no_secret_and_no_query(serve, tmp_path):
    lines = io.StringIO()
    settings = GatewaySettings(bearer_token=SECRET, log=ClickLogSettings(tmp_path))
    with serve(settings, access_log=lines) as client:
        right = {"authorization": f"Bearer {SECRET}"}
        token = search(client, **right).json()["token"]
        client.post("/v1/events", json={"token": token, "id": "red-shoe"}, headers=right)
        client.get("/v1/suggest", params={"q": "private words"}, headers=right)
    told = lines.getvalue()
    assert [json.loads(line)["route"] for line in told.splitlines()] == [
        "/v1/search",
        "/v1/events",
        "/v1/suggest",
    ]
    for private in (SECRET, token, "red shoe", "private", "127.0.0.1"):
        assert private not in told


# --- images -------------------------------------------------------------------------------


def test_pictures_have_tags_and_are_not_sent_twice(client):
    for path, kind in (("/images/red-shoe", "image/png"), ("/thumbnails/red-shoe", "image/webp")):
        first = client.get(path)
        assert first.headers["content-type"] == kind
        again = client.get(path, headers={"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert max(Image.open(io.BytesIO(first.content)).size) <= 320


@pytest.mark.parametrize(
    "item", ["gone", "../shop", "..%2f..%2fetc%2fpasswd", "%2fetc%2fpasswd", "red-shoe%00", "."]
)
def test_what_is_no_item_has_no_picture(client, item):
    for route in ("images", "thumbnails"):
        answer = client.get(f"/{route}/{item}")
        assert error_of(answer)[:2] == (404, "not_found")


@pytest.fixture
def store(tmp_path):
    """A folder of images with what leads out of it, and a secret beside it."""
    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("RGB", (4, 4)).save(folder / "a.png")
    (tmp_path / "secret.png").write_bytes((folder / "a.png").read_bytes())
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "inside.png").symlink_to("a.png")
    (tmp_path / "images-too").mkdir()
    (tmp_path / "images-too" / "b.png").write_bytes((folder / "a.png").read_bytes())
    return folder


@pytest.mark.parametrize(
    "uri",
    [
        "../secret.png",
        "link.png",
        "/etc/passwd",
        "file:///etc/passwd",
        "a.png/../../secret.png",
        "../images-too/b.png",
        "s3://bucket/a.png",
        "http://localhost/a.png",
        "ftp://host/a.png",
        "a.png\0",
    ],
)
def test_nothing_outside_of_the_store_is_read(store, uri):
    with pytest.raises(ServingError):
        ImageStore(roots=()).read(uri, str(store))


def test_the_store_reads_what_is_in_it(store):
    held = (store / "a.png").read_bytes()
    reader = ImageStore(roots=())
    for uri in ("a.png", "inside.png", str(store / "a.png"), (store / "a.png").as_uri()):
        assert reader.read(uri, str(store)) == held
    assert ImageStore(roots=(str(store.parent),)).read("link.png", str(store)) == held


class _Pictures(BaseHTTPRequestHandler):
    """A web server of images, one of which sends elsewhere."""

    def do_GET(self):
        if self.path == "/away.png":
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:1/secret.png")
        elif self.path == "/gone.png":
            self.send_response(404)
        else:
            self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{self.path} of {self.headers['Host']}".encode())

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def web():
    server = HTTPServer(("127.0.0.1", 0), _Pictures)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"localhost:{server.server_port}"
    server.shutdown()


def test_images_of_the_web_come_from_named_hosts_alone(web):
    allowed = ImageStore((), ["localhost"], private_hosts=True)
    assert allowed.read(f"http://{web}/a.png") == f"/a.png of {web}".encode()
    with pytest.raises(ServingError, match="answers with status 302"):
        allowed.read(f"http://{web}/away.png")
    with pytest.raises(ServingError, match="is not there"):
        allowed.read(f"http://{web}/gone.png")
    with pytest.raises(ServingError, match="Name it with --image-host"):
        ImageStore((), ["images.example"], private_hosts=True).read(f"http://{web}/a.png")
    with pytest.raises(ServingError, match="of a private network"):
        ImageStore((), ["localhost"]).read(f"http://{web}/a.png")
    with pytest.raises(ServingError, match="are not read from"):
        allowed.read(f"http://localhost@evil.example:{web.split(':')[1]}/a.png")


def test_the_address_that_was_checked_is_the_one_that_is_asked(web, monkeypatch):
    """DNS that answers otherwise the second time leads nowhere: there is no second time."""
    asked = []
    resolve = socket.getaddrinfo

    def counted(host, *arguments, **options):
        asked.append(host)
        return resolve(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", counted)
    ImageStore((), ["localhost"], private_hosts=True).read(f"http://{web}/a.png")
    assert asked.count("localhost") == 1 and set(asked) <= {"localhost", "127.0.0.1", "::1"}


def test_buckets_are_read_below_their_prefix_alone():
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.pipe("/shop/images/a.png", b"a picture")
    memory.pipe("/shop/secret.png", b"a secret")
    reader = ImageStore(roots=())
    assert reader.read("a.png", "memory://shop/images") == b"a picture"
    for uri in ("memory://shop/secret.png", "../secret.png", "memory://shop/images/../secret.png"):
        with pytest.raises(ServingError, match="outside of the image store"):
            reader.read(uri, "memory://shop/images")
    with pytest.raises(ServingError, match="is not there"):
        reader.read("gone.png", "memory://shop/images")


# --- releases -----------------------------------------------------------------------------


def test_readiness_follows_the_model_server(client):
    assert client.get("/readyz").json() == {"status": "ready", "release": 1}


def test_a_server_that_is_gone_is_told_as_that(shop_root, serve):
    with serve() as client:
        client.gateway.service._client.close()
        answer = search(client)
        assert answer.status_code in (400, 502, 503)
        assert "error" in answer.json()


@pytest.mark.slow
def test_releases_come_and_no_search_fails_or_is_mixed(publish_shop, tmp_path, serve):
    """Releases pushed under load: each answer is of one release, pictures included."""
    root = tmp_path / "release"
    publish_shop(root, 1)
    stop = threading.Event()
    releases, problems = set(), []

    def ask(base):
        with httpx.Client(base_url=base, trust_env=False, timeout=30) as client:
            while not stop.is_set():
                answer = search(client)
                if answer.status_code != 200:
                    problems.append(answer.text)
                    return
                content = answer.json()
                releases.add(content["release"])
                named = {hit["image"].split("release=")[1] for hit in content["hits"]}
                if named != {str(content["release"])} or found(answer)[0] != "red-shoe":
                    problems.append(content)

    with serve(root=root) as client:
        threads = [threading.Thread(target=ask, args=(str(client.base_url),)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for version in (2, 3, 4):
            stop.wait(1.5)
            publish_shop(root, version)
        stop.wait(3)
        stop.set()
        for thread in threads:
            thread.join()
    assert not problems
    assert {1, 4} <= releases <= {1, 2, 3, 4}
