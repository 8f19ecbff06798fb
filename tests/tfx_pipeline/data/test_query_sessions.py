import pyarrow as pa
import pytest

from tfx_pipeline.data.query_sessions import SKETCH, SessionSketches, count_sessions
from tfx_pipeline.data.tables import to_bytes


def counted(rows, pieces=1):
    """Sessions of each query, of rows that arrive in so many files."""
    found = []
    for piece in range(pieces):
        mine = rows[piece::pieces]
        sketches = SessionSketches()
        queries = pa.chunked_array([[query for query, _ in mine]], pa.string())
        sessions = pa.chunked_array([[session for _, session in mine]], pa.string())
        tables = [*sketches.add(queries, sessions), *sketches.rest()]
        found += [to_bytes(table) for table in tables]
    return {row["query"]: row["sessions"] for row in count_sessions(found).to_pylist()}


def test_up_to_the_sketch_the_count_is_exact_however_often_and_wherever_they_ask():
    rows = [("a", f"s{n % 5}") for n in range(100)] + [("b", f"s{n}") for n in range(SKETCH)]
    rows += [("c", None)] * 3
    expected = {"a": 5, "b": SKETCH}
    assert counted(rows) == counted(rows, pieces=7) == expected


def test_above_it_the_count_is_estimated():
    rows = [("many", f"session {n}") for n in range(20_000)]
    assert counted(rows, pieces=3)["many"] == pytest.approx(20_000, rel=0.4)  # 3 standard errors
    assert counted(rows) == counted(rows, pieces=5)  # in whatever pieces


def test_a_log_without_sessions_has_none():
    assert counted([("a", None)]) == {}
