"""What is said of disks: real errors of the system and of the libraries that write."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from tests.tfx_pipeline.conftest import REPOSITORY, VLSEARCH
from tfx_pipeline.disk_errors import explain_disk_error

FORBIDDEN = "permission denied. Give this user the right to it, or name another folder."
FULL = "no space left on device. Free space there, or name a folder on another disk."


@pytest.fixture
def full(tmp_path):
    """A file on a full disk; what deletes it after the failure deletes the link."""
    link = tmp_path / "full"
    link.symlink_to("/dev/full")
    return link


def raised(action):
    with pytest.raises(Exception) as caught:
        action()
    return caught.value


def write_full():
    with Path("/dev/full").open("r+b", buffering=0) as file:
        file.write(b"x")


def test_a_full_disk_is_named_by_its_file_or_else_by_the_folder():
    error = raised(write_full)
    assert explain_disk_error(error, "build/run") == f"build/run: {FULL}"
    assert explain_disk_error(error) is None
    error.filename = "/data/x"
    assert explain_disk_error(error, "build/run") == f"/data/x: {FULL}"


def test_what_libraries_make_of_it_is_understood(full):
    error = raised(lambda: pq.write_table(pa.table({"a": [1]}), full))
    assert explain_disk_error(error, "build/run") == f"build/run: {FULL}"

    def beam():
        try:
            write_full()
        except OSError as error:
            raise RuntimeError(f"{error} [while running 'Write/File']") from None

    assert explain_disk_error(raised(beam), "build/run") == f"build/run: {FULL}"


def test_the_cause_of_an_error_is_looked_at():
    def wrapped():
        try:
            write_full()
        except OSError as error:
            raise ValueError("the step failed") from error

    assert explain_disk_error(raised(wrapped), "build/run") == f"build/run: {FULL}"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.EACCES, FORBIDDEN),
        (errno.EROFS, "read-only file system. It can only be read; name another folder."),
        (errno.EDQUOT, "disk quota exceeded. Free space there, or name a folder on another disk."),
    ],
)
def test_rights_and_quotas_have_their_remedies(number, text):
    error = OSError(number, os.strerror(number), "/somewhere/file")
    assert explain_disk_error(error) == f"/somewhere/file: {text}"
    said_by_tensorflow = tf.errors.OpError(None, None, f"/a/b.tmp; {os.strerror(number)}", 7)
    assert explain_disk_error(said_by_tensorflow) == f"/a/b.tmp: {text}"


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "Permission denied"),  # of a port
        RuntimeError("403: Permission denied for this bucket"),
        FileNotFoundError(errno.ENOENT, "No such file", "/x"),
        ValueError("/x: odd"),
    ],
)
def test_other_errors_are_not_of_disks(error):
    assert explain_disk_error(error, "build/run") is None


def limited(size):
    """A limit on the size of files, for a new process."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_command_that_cannot_write_says_so_in_one_line(tmp_path):
    target = tmp_path / "data"
    result = subprocess.run(
        [sys.executable, VLSEARCH, "data", "emoji", str(target), "--limit", "60"],
        preexec_fn=limited(2000),
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr == (
        f"Error: {target}: file too large. Raise the limit on the size of files (ulimit -f), or "
        "name another file system.\n"
    )
