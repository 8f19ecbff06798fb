"""Google Cloud Storage: the real client against a small server that speaks its JSON interface."""

import email
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.tfx_pipeline.data.conftest import noise_image, write_csv
from tfx_pipeline.data.examples import materialize_examples
from tfx_pipeline.data.folder import DataFolder
from tfx_pipeline.storage import objects
from vl_models.errors import UserError

TOKEN = "of-the-tests"
OBJECTS = "/storage/v1/b/shop/o"


class Handler(BaseHTTPRequestHandler):
    """One bucket, `shop`, for the account that asked for a token; others are not its own."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        stored = self.server.stored
        url = urlsplit(self.path)
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            return self._json(401, {"error": {"code": 401, "message": "no token"}})
        if url.path == OBJECTS:
            prefix = parse_qs(url.query).get("prefix", [""])[0]
            names = sorted(name for name in stored if name.startswith(prefix))
            return self._json(200, {"items": [self._describe(name) for name in names]})
        name = unquote(url.path.removeprefix("/download").removeprefix(f"{OBJECTS}/"))
        if name not in stored:
            code = 404 if "/b/shop/" in url.path else 403
            message = "No such object" if code == 404 else "The account may not list it."
            return self._json(code, {"error": {"code": code, "message": message}})
        if not url.path.startswith("/download"):
            return self._json(200, self._describe(name))
        data = stored[name]
        first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        part = data[int(first) : int(last or len(data)) + 1]
        end = int(first) + len(part) - 1
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{end}/{len(data)}")
        self._send(part)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/token":
            answer = {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}
            return self._json(200, answer)
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        description, content = email.message_from_bytes(head + body).get_payload()
        name = json.loads(description.get_payload())["name"]
        self.server.stored[name] = content.get_payload(decode=True)
        return self._json(200, self._describe(name))

    def _describe(self, name):
        size = str(len(self.server.stored[name]))
        changed = "2026-01-02T03:04:05.678Z"
        return {"name": name, "bucket": "shop", "size": size, "updated": changed, "generation": "1"}

    def _json(self, code, value):
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self._send(json.dumps(value).encode())

    def _send(self, data):
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The server and an account for it; one, because clients and credentials are kept."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    account = tmp_path_factory.mktemp("google") / "account.json"
    with (
        pytest.MonkeyPatch.context() as patch,
        ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server,
    ):
        address = f"http://127.0.0.1:{server.server_port}"
        description = {
            "type": "service_account",
            "project_id": "tests",
            "client_email": "tests@example.com",
            "private_key": key.decode(),
            "token_uri": f"{address}/token",
        }
        account.write_text(json.dumps(description))
        patch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(account))
        patch.setenv("STORAGE_EMULATOR_HOST", address)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def stored(server):
    """Name → bytes of the objects in gs://shop."""
    server.stored = {}
    return server.stored


def test_examples_from_google_cloud_storage(stored, tmp_path):
    root = tmp_path / "data"
    (root / "images").mkdir(parents=True)
    noise_image(1).save(root / "images/a.png")
    write_csv(
        root / "log.csv", [{"query": f"q{i}", "image_id": "a", "clicked": 1} for i in range(9)]
    )
    DataFolder(kind="clicks", name="x", log="*.csv").save(root)
    for path in root.rglob("*.*"):
        stored[f"data/{path.relative_to(root).as_posix()}"] = path.read_bytes()

    folder = DataFolder.load("gs://shop/data")
    assert folder.resolve().files == ("gs://shop/data/log.csv",)
    built = materialize_examples(folder, tmp_path / "out")
    assert built.counters["counters"]["images"] == 1
    assert built.counters["counters"]["pairs"] == 9


def test_objects_go_up_and_down(stored, tmp_path):
    objects.write_bytes("gs://shop/folder/name", b"content")
    assert stored == {"folder/name": b"content"}
    assert objects.read_bytes("gs://shop/folder/name") == b"content"
    [stamp] = objects.list_objects("gs://shop/folder")
    assert (stamp.uri, stamp.size) == ("gs://shop/folder/name", 7)
    with pytest.raises(FileNotFoundError):
        objects.read_bytes("gs://shop/nothing")


def test_a_bucket_of_somebody_else_is_explained(stored):
    with pytest.raises(UserError) as error:
        DataFolder.load("gs://private/data")
    text = str(error.value)
    assert text.startswith("gs://private/data cannot be listed: 403 GET http://127.0.0.1:")
    assert text.endswith(
        "The account may not list it. Check bucket and credentials "
        "(GOOGLE_APPLICATION_CREDENTIALS, or `gcloud auth application-default login`)."
    )
