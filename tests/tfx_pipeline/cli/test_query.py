"""`vlsearch query` as people meet it: hostile texts, and environments that are not ours."""

import html
import json
import os
import subprocess

import pytest

from serving.index import build_index
from serving.model_server.options import release_options
from serving.model_server.server import ModelServer
from serving.publish import publish_release
from tests.proxies import CountingProxy
from tests.serving.conftest import BUCKETS, _save_tower, _table
from tests.tfx_pipeline.conftest import REPOSITORY, VLSEARCH, vlsearch
from vl_models.terminal import visible

IDS = ["[/b]", "<b>&", "[red]x", ":cake:", "\\[a]", "生日\u202e", "a\x1b[2Jb\n\tc", "100%s{0}"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A release whose ids are what people's files can be called."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("query")
    towers = {name: folder / name for name in ("text_tower", "image_tower")}
    _save_tower(towers["text_tower"], 1, "encode_text")
    _save_tower(towers["image_tower"], 1, "encode_image")
    rows = tf.strings.to_hash_bucket_fast(IDS, BUCKETS).numpy()
    uris = [f"[/]/{number}/:dog:.png" for number in range(len(IDS))]
    build_index(_table(1)[rows], IDS, uris, folder / "index", tower_version=1)
    publish_release(folder / "root", 1, towers, folder / "index")
    return folder / "root"


@pytest.fixture(scope="module")
def address(root):
    """Of a server of it."""
    with ModelServer(release_options(root, port=None, rest_api_port=0)) as server:
        yield f"127.0.0.1:{server.grpc_port}"


@pytest.mark.parametrize("text", IDS[:1] + IDS[-2:])
def test_texts_and_ids_are_shown_as_they_are(root, address, text, tmp_path):
    page = tmp_path / "[b] sheet.html"
    result = vlsearch(
        "query", text, "--release", str(root), "--server", address, "--html", str(page)
    )
    title, *lines = result.stdout.splitlines()
    assert title.strip() == visible(text, one_line=True).strip()
    for number, one in enumerate(IDS):
        [line] = [line for line in lines if f" [/]/{number}/:dog:.png " in line]
        assert f" {visible(one, one_line=True)} " in line
    assert not {"\x1b", "\u202e", "\t"} & set(result.stdout)
    assert result.stdout.splitlines()[-1] == f"Contact sheet: {page}"
    assert f"<h1>{html.escape(text)}</h1>" in page.read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["query", "x", "--release", "/no[/b]\x1b[2J"], r"/no[/b]\x1b[2J is not a release root"),
        (["query", "\u200b"], "The query is empty; say what to look for. It has invisible"),
        (["query", "x", "-k", "[/b]\x1b"], r"Invalid value for '-k': "),
        (["query", "x", "--[/b]\x1b[2J"], r"No such option: --[/b]\x1b[2J"),
        (["no[/b]\x1b[2J"], r"No such command 'no[/b]\x1b[2J'."),
        (["config", "[/b]\x07.yaml"], r"[/b]\x07.yaml: no such configuration file"),
        (["config", "configs/emoji.yaml", "--set", "[/b]\x1b=1"], r"Unknown key '[/b]\x1b'"),
        (["rollback", "/no\u202e"], r"/no\u202e is not a release root"),
    ],
)
def test_errors_show_what_was_given_and_nothing_acts(arguments, message):
    result = vlsearch(*arguments, check=False)
    assert result.returncode == 2
    assert message in result.stderr
    assert not {"\x1b", "\x07", "\u202e"} & set(result.stderr + result.stdout)


@pytest.mark.parametrize(
    ("server", "message"),
    [
        ("127.0.0.1:99999", "A port is a number from 1 to 65535."),
        ("http://127.0.0.1:8501", "give the gRPC port (8500 by default), not the REST port."),
        ("localhost", "Give both host and port, such as localhost:8500."),
    ],
)
def test_addresses_that_are_none(root, server, message):
    result = vlsearch("query", "x", "--release", str(root), "--server", server, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.endswith(f"{message}\n")


def ask(root, address, **variables):
    """`vlsearch query` in an environment with other variables; None takes one out."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG"))}
    environment |= {name: value for name, value in variables.items() if value is not None}
    for name in [name for name, value in variables.items() if value is None]:
        environment.pop(name, None)
    return subprocess.run(
        [VLSEARCH, "query", "生日\u202e", "--release", str(root), "--server", address],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=REPOSITORY,
        env=environment,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    "variables",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii", "TMPDIR": "/nowhere", "HOME": None},
        {"HOME": "/nowhere", "COLUMNS": "1", "TERM": "dumb", "NO_COLOR": "1"},
        {"PYTHONWARNINGS": "error", "PYTHONUNBUFFERED": "1"},
        {"GRPC_VERBOSITY": "debug", "TF_CPP_MIN_LOG_LEVEL": "0", "CUDA_VISIBLE_DEVICES": "x"},
    ],
    ids=lambda variables: ",".join(variables),
)
def test_environments(root, address, variables):
    result = ask(root, address, **variables)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    first = [line for line in result.stdout.splitlines() if ".png" in line or "dog" in line]
    assert first
    assert "生日" in result.stdout or r"\u751f\u65e5" in result.stdout or "COLUMNS" in variables


def test_a_proxy_in_the_environment(root, address):
    with CountingProxy() as proxy:
        result = ask(root, address, **proxy.environment, no_proxy="")
    assert result.returncode == 0, result.stderr
    assert proxy.requests == []


def test_json_holds_what_a_table_cannot(root, address):
    told = vlsearch(
        "query", IDS[0], "-k", "2", "--release", str(root), "--server", address, "--json"
    ).stdout
    answer = json.loads(told)
    assert (answer["query"], answer["release"], answer["ranking"]) == (IDS[0], 1, "tower")
    first, second = answer["hits"]
    assert (first["id"], first["rank"], second["rank"]) == (IDS[0], 1, 2)
    assert first["score"] == pytest.approx(1, abs=1e-5) and first["item"] == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shoes", "--filter is a JSON object of conditions by column. Received: shoes"),
        ('{"group": "a"}', "the items of this index have no columns"),
    ],
)
def test_filters_that_say_nothing(root, address, text, message):
    found = ("--release", str(root), "--server", address)
    result = vlsearch("query", "x", *found, "--filter", text, check=False)
    assert result.returncode == 2 and message in " ".join(result.stderr.split())
