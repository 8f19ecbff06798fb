"""Objects of a bucket: listing, reading, writing, and what goes wrong as one readable line.

Object stores know no rename: an object appears when it is complete. So nothing here writes under
a temporary name; who writes several objects writes last the one that the others are found by.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tfx_pipeline.storage.options import file_system
from tfx_pipeline.storage.uris import check_place, join, scheme
from vl_models.errors import UserError

_REMEDY = {
    "s3": "Check bucket, endpoint (AWS_ENDPOINT_URL_S3) and credentials (AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE).",
    "gs": "Check bucket and credentials (GOOGLE_APPLICATION_CREDENTIALS, or `gcloud auth "
    "application-default login`).",
}
_PIECE = 8 << 20  # bytes in memory while an object is copied
_TOLD_BY = ("AWS_", "GOOGLE_", "STORAGE_EMULATOR_HOST")  # variables with endpoints, credentials
_thread = threading.local()


class Stamp(NamedTuple):
    """What tells whether an object has changed."""

    uri: str
    size: int
    modified: float  # seconds since 1970


def check_access(uri: str) -> None:
    """Look once whether a bucket can be listed, before Beam's retries would hide the answer.

    Beam repeats what fails without an answer (no credentials, a wrong endpoint) for ten minutes.

    Raises:
        UserError: it cannot be listed; says why and what to check.
    """
    uri = check_place(uri)
    with _explained(uri, "listed"):
        if scheme(uri) == "s3":
            bucket, _, prefix = uri.removeprefix("s3://").partition("/")
            # Below Beam's client is boto3's, which retries for seconds.
            boto3_client = _client(uri).client.client
            boto3_client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
        else:
            file_system(uri)[0].match([join(uri, "**")], [1])


def list_objects(folder: str) -> list[Stamp]:
    """Return all objects below a folder, at any depth, sorted; its name is no pattern.

    Raises:
        UserError: the bucket cannot be listed. A folder that is not there is empty.
    """
    place = check_place(folder)
    with _explained(place, "listed"):
        listed = _client(place).list_files(f"{place}/", with_metadata=True)
        found = [Stamp(uri, size, modified) for uri, (size, modified) in listed]
    # A name that ends with a slash is how consoles show an empty folder.
    return sorted(stamp for stamp in found if not stamp.uri.endswith("/"))


@contextlib.contextmanager
def open_object(uri: str) -> Iterator[Any]:
    """Return an object's bytes as a stream that can be read and sought; not unpacked.

    Raises:
        FileNotFoundError: there is none.
        UserError: it cannot be read, now or later in the block.
    """
    check_place(uri)
    with _explained(uri, "read"):
        client = _client(uri)
        if scheme(uri) == "s3":
            _ask_once(client, uri)
        with client.open(uri, "rb") as stream:
            yield stream


def read_bytes(uri: str, limit: int = -1) -> bytes:
    """Return an object's bytes, at most ``limit`` of them.

    Raises:
        FileNotFoundError: there is none.
        UserError: it cannot be read.
    """
    with open_object(uri) as stream:
        return stream.read(limit)


def download(uri: str, path: Path) -> None:
    """Copy an object to a file.

    Raises:
        FileNotFoundError: there is none.
        UserError: it cannot be read.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_object(uri) as stream, path.open("wb") as target:
        shutil.copyfileobj(stream, target, _PIECE)


@contextlib.contextmanager
def local_copy(uri: str) -> Iterator[Path]:
    """Return a copy on the local disk, for what reads paths only; gone after the block."""
    with tempfile.TemporaryDirectory(prefix="vlsearch-") as folder:
        path = Path(folder, uri.rpartition("/")[2])
        download(uri, path)
        yield path


def upload(path: Path, uri: str) -> None:
    """Copy a file to an object, which appears when it is complete and not before.

    Not through Beam's writer: closing that completes the object, also where a failure left
    pieces out, and it cannot write 0 bytes to S3. The clients below it can do both.

    Raises:
        UserError: it cannot be written.
    """
    check_place(uri)
    bucket, _, name = uri.partition("://")[2].partition("/")
    with _explained(uri, "written"):
        client = _client(uri).client
        if scheme(uri) == "s3":
            client.client.upload_file(str(path), bucket, name)
        else:
            client.bucket(bucket).blob(name).upload_from_filename(str(path))


def write_bytes(uri: str, data: bytes) -> None:
    """Write an object.

    Raises:
        UserError: it cannot be written.
    """
    with tempfile.NamedTemporaryFile(prefix="vlsearch-") as file:
        file.write(data)
        file.flush()
        upload(Path(file.name), uri)


@contextlib.contextmanager
def _explained(uri: str, done: str) -> Iterator[None]:
    """Turn what the clients raise into one line for a person."""
    try:
        yield
    except (UserError, FileNotFoundError):
        raise
    except Exception as error:
        # Beam, boto3 and Google's client each raise classes of their own.
        if not _is_of_a_client(error):
            raise
        if done == "read" and getattr(error, "code", None) == 404:
            raise FileNotFoundError(f"{uri}: there is no such object") from error
        remedy = _REMEDY[scheme(uri) or ""]
        raise UserError(f"{uri} cannot be {done}: {_reason(error)}. {remedy}") from error


def _is_of_a_client(error: Exception) -> bool:
    packages = ("apache_beam", "botocore", "boto3", "google", "requests", "urllib3")
    return isinstance(error, ConnectionError) or any(
        kind.__module__.partition(".")[0] in packages for kind in type(error).__mro__
    )


def _reason(error: BaseException) -> str:
    """The cause as one line, out of what Beam wraps it in: a dict by path, a pair with the code."""
    from apache_beam.io.aws.clients.s3.messages import S3ClientError

    details = getattr(error, "exception_details", None)
    if isinstance(details, dict) and details:
        return _reason(next(iter(details.values())))
    text = str(error.message if isinstance(error, S3ClientError) else error)
    return " ".join(text.split()).rstrip(".") or type(error).__name__


def _ask_once(client: Any, uri: str) -> None:
    """Ask for the first object of each bucket without Beam's retries, see `check_access`."""
    from botocore.exceptions import ClientError

    bucket, _, name = uri.removeprefix("s3://").partition("/")
    if bucket not in _thread.answered:
        with contextlib.suppress(ClientError):  # any answer will do: reading says what it means
            client.client.client.head_object(Bucket=bucket, Key=name)
        _thread.answered.add(bucket)


def _client(uri: str) -> Any:
    """Beam's S3IO or GcsIO of this thread, made anew when options or environment are others.

    Making one takes ten times as long as reading an image, and Beam's file systems make one for
    every object.
    """
    _, options = file_system(uri)
    told = {name: value for name, value in os.environ.items() if name.startswith(_TOLD_BY)}
    if getattr(_thread, "options", None) is not options or _thread.told != told:
        _thread.clients, _thread.answered = {}, set()
        _thread.options, _thread.told = options, told
    kind = scheme(uri)
    if kind not in _thread.clients:
        if kind == "s3":
            if importlib.util.find_spec("boto3") is None:
                raise UserError(f"{uri}: s3:// needs boto3. pip install 'vlsearch[s3]'")
            from apache_beam.io.aws.s3io import S3IO

            _thread.clients[kind] = S3IO(options=options)
        else:
            from apache_beam.io.gcp.gcsio import GcsIO

            _thread.clients[kind] = GcsIO(pipeline_options=options)
    return _thread.clients[kind]
