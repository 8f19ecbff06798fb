import os

import pytest

from tfx_pipeline.data.spans import resolve_spans
from vl_models.errors import UserError


@pytest.fixture
def log(tmp_path):
    for span in (1, 2, 10, 11):
        path = tmp_path / f"span-{span}" / "clicks.csv"
        path.parent.mkdir()
        path.write_text(str(span))
    return tmp_path


def names(resolved, root):
    return [os.path.relpath(file, root) for file in resolved.files]


def test_windows_count_spans_as_numbers(log):
    pattern = f"{log}/span-{{SPAN}}/*.csv"
    assert resolve_spans(pattern).spans == (1, 2, 10, 11)
    newest = resolve_spans(pattern, 2)
    assert newest.spans == (10, 11)
    assert names(newest, log) == ["span-10/clicks.csv", "span-11/clicks.csv"]
    assert resolve_spans(pattern, (2, 10)).spans == (2, 10)
    assert resolve_spans(pattern, 99).spans == (1, 2, 10, 11)


def test_the_fingerprint_follows_files_and_window(log):
    pattern = f"{log}/span-{{SPAN}}/*.csv"
    whole = resolve_spans(pattern).fingerprint
    assert whole == resolve_spans(pattern).fingerprint
    assert whole != resolve_spans(pattern, 2).fingerprint
    (log / "span-1/clicks.csv").write_text("changed")
    assert whole != resolve_spans(pattern).fingerprint


def test_patterns_without_spans(log):
    resolved = resolve_spans(f"{log}/*/clicks.csv")
    assert len(resolved.files) == 4
    assert resolved.spans == ()


def test_mistakes_are_explained(log):
    with pytest.raises(UserError, match=r"No log file matches '.*\.parquet'\. Check the path"):
        resolve_spans(f"{log}/*.parquet")
    with pytest.raises(UserError, match=r"in the span window \(5, 6\)"):
        resolve_spans(f"{log}/span-{{SPAN}}/*.csv", (5, 6))
    with pytest.raises(UserError, match=r"needs \{SPAN\} in the input pattern"):
        resolve_spans(f"{log}/*/clicks.csv", 2)
    with pytest.raises(UserError, match=r"at least 1 span\. Received: window=0"):
        resolve_spans(f"{log}/span-{{SPAN}}/*.csv", 0)
