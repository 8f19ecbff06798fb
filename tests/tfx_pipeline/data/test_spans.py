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


def write(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")


@pytest.mark.parametrize(
    "name", ["[2024] shop", "a*b?", "{SPAN}", "100% {x}", "-rf", "商店 é", "[!x]", "_old/.x"]
)
def test_the_name_of_the_folder_is_no_pattern(tmp_path, name):
    root = tmp_path / name
    write(root, "log/b.csv", "log/a.csv", "log/[1].csv")
    write(tmp_path / "2/log", "other.csv")
    files = names(resolve_spans(f"{root}/log/*", root=str(root)), root)
    assert files == ["log/[1].csv", "log/a.csv", "log/b.csv"]
    assert names(resolve_spans(f"{root}/log/[1].csv", root=str(root)), root) == ["log/[1].csv"]
    assert names(resolve_spans(f"{root}/log/[ab].csv", root=str(root)), root) == files[1:]


def test_a_part_that_is_there_as_written_is_no_pattern(tmp_path):
    write(tmp_path, "[ab] log/x.csv", "a log/y.csv", "z/[ab]/x.csv", "z/a/y.csv")
    assert names(resolve_spans(f"{tmp_path}/[ab] log/*"), tmp_path) == ["[ab] log/x.csv"]
    (tmp_path / "[ab] log/x.csv").unlink()
    (tmp_path / "[ab] log").rmdir()
    assert names(resolve_spans(f"{tmp_path}/[ab] log/*"), tmp_path) == ["a log/y.csv"]
    assert names(resolve_spans(f"{tmp_path}/*/[ab]/*"), tmp_path) == ["z/[ab]/x.csv", "z/a/y.csv"]


@pytest.mark.parametrize("pattern", ["log", "log/", "log/*", "log/**", "**", "./log/**/part*"])
def test_a_folder_stands_for_its_files_without_what_writers_leave_beside_them(tmp_path, pattern):
    parts = ["log/a/part-1.csv", "log/part-0.parquet", "log/part.csv/part-2.csv"]
    left = ["_SUCCESS", ".part-0.parquet.crc", "_committed_77", "_temporary/0/part-9.csv", ".git/x"]
    write(tmp_path, *parts, *(f"log/{name}" for name in left))
    assert names(resolve_spans(f"{tmp_path}/{pattern}"), tmp_path) == parts
    for path in parts:
        (tmp_path / path).unlink()
    with pytest.raises(UserError, match=r"; skipped, because names begin with _ or a dot: /"):
        resolve_spans(f"{tmp_path}/{pattern}")


def test_hidden_names_are_read_where_the_pattern_says_so(tmp_path):
    write(tmp_path, "_log/a.csv", "_log/_b.csv", "_log/_key=1/c.csv")
    found = names(resolve_spans(f"{tmp_path}/_log/*"), tmp_path)
    assert found == ["_log/_key=1/c.csv", "_log/a.csv"]
    assert names(resolve_spans(f"{tmp_path}/_log/_b*"), tmp_path) == ["_log/_b.csv"]


def test_links_are_followed_and_cycles_end(tmp_path):
    write(tmp_path, "elsewhere/deep/a.csv", "log/b.csv")
    (tmp_path / "log/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "log/file.csv").symlink_to(tmp_path / "elsewhere/deep/a.csv")
    (tmp_path / "log/gone.csv").symlink_to(tmp_path / "nothing")
    (tmp_path / "elsewhere/up").symlink_to(tmp_path / "log")
    expected = ["log/b.csv", "log/file.csv", "log/linked/deep/a.csv"]
    assert names(resolve_spans(f"{tmp_path}/log/*"), tmp_path) == expected


def test_dates_of_folders_are_spans(tmp_path):
    days = ("2024-01-31", "2024-02-01", "2024-02-10")
    write(tmp_path, *(f"log/date={day}/split={s}/p.csv" for day in days for s in ("a", "b")))
    assert resolve_spans(f"{tmp_path}/log/*").spans == (20240131, 20240201, 20240210)
    newest = resolve_spans(f"{tmp_path}/log/*", 1)
    assert names(newest, tmp_path) == [
        "log/date=2024-02-10/split=a/p.csv",
        "log/date=2024-02-10/split=b/p.csv",
    ]
    span = resolve_spans(f"{tmp_path}/log/date={{SPAN}}/*", (20240101, 20240201))
    assert span.spans == (20240131, 20240201)
    assert len(span.files) == 4
    write(tmp_path, "log/more.csv")  # not every file has a date any more
    assert resolve_spans(f"{tmp_path}/log").spans == ()
    with pytest.raises(UserError, match="or every file in a folder such as date=2024-01-31"):
        resolve_spans(f"{tmp_path}/log", 1)
