"""From a result page to rows of the click-log contract."""

import base64
import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
import zlib
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest
import yaml

from serving.errors import ServingError
from serving.gateway.click_log.closed_files import closed_files
from serving.gateway.click_log.lines import clicked_line, read_rows, shown_line
from serving.gateway.click_log.segments import recover
from serving.gateway.explore import swap_neighbours
from serving.gateway.impressions import BadTokenError, Impression, ImpressionTokens
from serving.gateway.settings import ClickLogSettings, GatewaySettings
from tests.serving.shop import error_of

REPOSITORY = Path(__file__).resolve().parents[3]


def logging_to(folder, **options):
    return GatewaySettings(log=ClickLogSettings(folder, **options))


def search(client, query="red shoe", **body):
    response = client.post("/v1/search", json={"query": query, "k": 5, **body})
    assert response.status_code == 200, response.text
    return response.json()


def click(client, token, item):
    return client.post("/v1/events", json={"token": token, "id": item})


def rows_of(folder):
    return [row for path in closed_files(folder) for row in pq.read_table(path).to_pylist()]


def test_what_is_shown_and_clicked_becomes_rows(serve, tmp_path, shop):
    with serve(logging_to(tmp_path / "log")) as client:
        answer = search(client, language="en")
        shown = [hit["id"] for hit in answer["hits"]]
        assert click(client, answer["token"], shown[1]).json() == {"recorded": True}
        assert click(client, answer["token"], shown[1]).json() == {"recorded": False}
        session = client.cookies["vlsearch_session"]
        [events] = (tmp_path / "log" / "events").glob("*.jsonl")
        assert stat.S_IMODE(events.stat().st_mode) == 0o600
        assert events.name.split("-")[3] == str(os.getpid())
        assert len(events.read_bytes().splitlines()) == 2  # before anything is closed
    rows = rows_of(tmp_path / "log")
    assert [row["image_id"] for row in rows] == shown
    assert [row["position"] for row in rows] == [1, 2, 3, 4, 5]
    assert [row["clicked"] for row in rows] == [0, 1, 0, 0, 0]
    assert {row["impressions"] for row in rows} == {1}
    assert {(row["query"], row["language"], row["session_id"]) for row in rows} == {
        ("red shoe", "en", session)
    }
    assert {(row["release"], row["ranking"]) for row in rows} == {(1, "tower")}
    assert abs(rows[0]["timestamp"].timestamp() - time.time()) < 60
    assert not list((tmp_path / "log" / "events").glob("*.jsonl"))
    described = yaml.safe_load((tmp_path / "log" / "data.yaml").read_text())
    assert described["kind"] == "clicks" and described["images"] == str(shop["pictures"])


def test_only_texts_are_queries_and_some_are_left_out(serve, tmp_path):
    with serve(logging_to(tmp_path, without=["^private", r"\d{6}"])) as client:
        assert client.post("/v1/search", json={"id": "red-shoe"}).json()["token"] is None
        for query in ("private thing", "call 555123", "PRIVATE"):
            assert search(client, query)["token"] is None
        assert search(client, "public")["token"]
    assert {row["query"] for row in rows_of(tmp_path)} == {"public"}


def test_later_pages_go_on_counting_positions(serve, tmp_path):
    with serve(logging_to(tmp_path)) as client:
        answer = search(client, offset=5)
        click(client, answer["token"], answer["hits"][0]["id"])
    rows = rows_of(tmp_path)
    assert [row["position"] for row in rows] == [6, 7, 8, 9, 10]
    assert [row["clicked"] for row in rows] == [1, 0, 0, 0, 0]


def test_a_click_needs_the_token_of_an_answer(serve, tmp_path):
    with serve(logging_to(tmp_path)) as client:
        answer = search(client)
        token = answer["token"]
        forged = ImpressionTokens(b"another key", 100).sign(
            Impression.of("q", "s", ("a",), release=1, ranking="tower", first=1)
        )
        for bad in ("", "x", forged, token[:-2] + ("aa" if token[-2:] != "aa" else "bb")):
            assert error_of(click(client, bad, "red-shoe"))[:2] == (403, "bad_token")
        status, _, told = error_of(click(client, token, "猫猫"))
        assert status == 400 and "was not on that result page" in told
        assert error_of(client.post("/v1/events", json={"id": "red-shoe"}))[0] == 400
    assert not any(row["clicked"] for row in rows_of(tmp_path))


def test_tokens_expire():
    tokens = ImpressionTokens(b"key of sixteen b", 0)
    token = tokens.sign(Impression.of("q", "s", ("a",), release=1, ranking="tower", first=1))
    assert tokens.read(token).ids == ("a",)
    time.sleep(2)  # their clock has seconds
    with pytest.raises(BadTokenError, match="too old"):
        tokens.read(token)


def test_services_with_one_key_take_each_others_clicks(serve, tmp_path):
    settings = [
        GatewaySettings(log=ClickLogSettings(tmp_path), token_key=b"of sixteen bytes") for _ in "ab"
    ]
    with serve(settings[0]) as one, serve(settings[1]) as other:
        answer = search(one)
        assert click(other, answer["token"], answer["hits"][2]["id"]).json()["recorded"]
    rows = rows_of(tmp_path)
    assert len(rows) == 6 and sum(row["impressions"] for row in rows) == 5
    [clicked] = [row for row in rows if row["clicked"]]
    assert (clicked["position"], clicked["impressions"]) == (3, 0)  # its impression is elsewhere


def test_sessions_are_told_apart_and_forgotten(serve, tmp_path):
    with serve(logging_to(tmp_path)) as client:
        for session in ("one", "other"):
            search(client, session=session)
        assert "vlsearch_session" not in client.cookies
    with serve(logging_to(tmp_path)) as client:
        client.cookies.set("vlsearch_session", "one")
        search(client, "blue bag")
        assert client.delete("/v1/session").json() == {"forgotten": True}
    assert {row["session_id"] for row in rows_of(tmp_path)} == {"other"}  # open events, too
    assert len(rows_of(tmp_path)) == 5


def test_old_spans_are_deleted_and_nothing_else(tmp_path):
    import datetime

    from serving.gateway.click_log.privacy import delete_old_spans

    for day, name in (
        ("2026-01-01", "clicks-a.parquet"),
        ("2026-01-02", "clicks-b.parquet"),
        ("2026-01-01", "other.parquet"),
        ("2026-01-09", "clicks-c.parquet"),
    ):
        path = tmp_path / "log" / f"span-{day}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    gone = delete_old_spans(tmp_path, 7, datetime.date(2026, 1, 10))
    assert gone == ["span-2026-01-02"]
    left = sorted(path.name for path in tmp_path.rglob("*.parquet"))
    assert left == ["clicks-c.parquet", "other.parquet"]


def test_a_full_disk_stops_the_log_and_not_the_search(serve, tmp_path, monkeypatch):
    with serve(logging_to(tmp_path)) as client:
        answer = search(client)
        write = os.write

        def full(descriptor, data):
            if data.startswith((b'{"shown"', b'{"clicked"')):
                return write(descriptor, data[:7])  # as a full disk takes a part
            return write(descriptor, data)

        monkeypatch.setattr(os, "write", full)
        assert search(client, "blue bag")["token"] is None
        status, code, _ = error_of(click(client, answer["token"], answer["hits"][0]["id"]))
        assert (status, code) == (503, "unavailable")
        monkeypatch.undo()
        assert click(client, answer["token"], answer["hits"][0]["id"]).json()["recorded"]
        assert 'vlsearch_logged_total{kind="failed"} 1.0' in client.get("/metrics").text
    rows = rows_of(tmp_path)  # no half line is in the way
    assert len(rows) == 5 and rows[0]["clicked"] == 1


def test_lines_that_were_not_acknowledged_are_left_out():
    shown = Impression.of("q", "s", ("a", "b"), release=2, ranking="reranker", first=1)
    lines = [shown_line(shown), clicked_line(shown, "b", 5.0), clicked_line(shown, "b", 6.0)]
    torn = shown_line(shown)[:-1]
    rows = read_rows([*lines, torn]).to_pylist()
    assert [(row["image_id"], row["clicked"], row["ranking"]) for row in rows] == [
        ("a", 0, "reranker"),
        ("b", 1, "reranker"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"kind": "captions"}, "clicks are logged into data of kind clicks"),
        ({"kind": "clicks", "log": "log/*.csv"}, r"its log is log/\*\.csv \(auto\)"),
        ({"kind": "clicks", "splits": {"policy": "given"}}, "its rows name their own split"),
    ],
)
def test_folders_that_cannot_be_logged_into(serve, tmp_path, content, message):
    (tmp_path / "data.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ServingError, match=message), serve(logging_to(tmp_path)):
        pass
    (tmp_path / "data.yaml").unlink()
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(ServingError, match="holds other files"), serve(logging_to(tmp_path)):
        pass


def test_neighbours_change_places_and_nobody_else():
    draw = random.Random(1)
    assert swap_neighbours(range(6), 0.0, draw) == [0, 1, 2, 3, 4, 5]
    seen = {tuple(swap_neighbours(range(6), 1.0, draw)) for _ in range(50)}
    assert seen == {(1, 0, 3, 2, 5, 4), (0, 2, 1, 4, 3, 5)}
    swapped = sum(swap_neighbours(range(2), 0.3, draw) == [1, 0] for _ in range(20_000))
    assert swapped / 20_000 == pytest.approx(0.5 * 0.3, abs=0.01)


def test_exploration_is_what_is_recorded(serve, tmp_path):
    with serve(logging_to(tmp_path, explore=1.0)) as client:
        pages = [search(client) for _ in range(12)]
        assert [page["cached"] for page in pages] == [False] + [True] * 11  # swapped afterwards
        orders = [[hit["id"] for hit in page["hits"]] for page in pages]
        assert len(set(map(tuple, orders))) == 2
    rows = rows_of(tmp_path)
    assert [row["image_id"] for row in rows] == [item for order in orders for item in order]
    described = yaml.safe_load((tmp_path / "data.yaml").read_text())
    assert described["propensity"] == {"mode": "estimated"}


SERVICE = """
import sys
from pathlib import Path
from serving.gateway.server import run_search_service
from serving.gateway.settings import ClickLogSettings, GatewaySettings
settings = GatewaySettings(log=ClickLogSettings(Path(sys.argv[2])), token_key=b"of sixteen bytes")
run_search_service(sys.argv[1], settings, host="127.0.0.1", port=0, servers=sys.argv[3:],
                   on_ready=lambda server, gateway: print(server.url, flush=True))
"""


@pytest.mark.slow
def test_killed_at_any_moment_it_loses_nothing_that_was_acknowledged(shop_root, tmp_path):
    """kill -9 under events: each row that is there was sent, each acknowledged one is there."""
    from serving.search import embedded_server

    draw = random.Random(7)
    acknowledged, sent = set(), set()
    with embedded_server(shop_root) as towers:
        for _ in range(4):
            process = subprocess.Popen(
                [sys.executable, "-c", SERVICE, str(shop_root), str(tmp_path), towers.address],
                cwd=REPOSITORY,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            with httpx.Client(
                base_url=process.stdout.readline().strip(), trust_env=False
            ) as client:
                end = time.monotonic() + draw.uniform(0.2, 0.8)
                killed = False
                try:
                    for number in range(10_000):
                        if time.monotonic() > end and not killed:
                            killed = True
                            process.send_signal(signal.SIGKILL)
                        answer = search(client, f"thing {number % 60:02d}", k=3)
                        item = draw.choice(answer["hits"])["id"]
                        key = (answer["token"].rsplit(".", 2)[0], item)
                        sent.add(key)
                        click(client, answer["token"], item)
                        acknowledged.add(key)
                except (httpx.HTTPError, json.JSONDecodeError):
                    pass
            process.wait()
            process.stdout.close()
    assert len(acknowledged) > 20
    assert recover(tmp_path) == 1  # each service that started closed what the one before had left
    clicked = {
        (row["session_id"], row["query"], row["image_id"])
        for row in rows_of(tmp_path)
        if row["clicked"]
    }
    assert {_named(*key) for key in acknowledged} <= clicked <= {_named(*key) for key in sent}


def _named(payload, item):
    """Session, query and item of a click on what a token's payload says."""
    raw = base64.urlsafe_b64decode(payload.lstrip(".") + "==")
    fields = json.loads(zlib.decompress(raw) if payload.startswith(".") else raw)
    return fields[3], fields[2], item
