"""Which places there are: paths of a disk, and URIs of the object stores that are supported."""

from __future__ import annotations

import re
from pathlib import Path

from vl_models.errors import UserError

SCHEMES = ("s3", "gs")
_INSTEAD = {
    "s3a": "Write s3:// instead of s3a://.",
    "s3n": "Write s3:// instead of s3n://.",
    "gcs": "Write gs:// instead of gcs://.",
    "file": "Give the path alone.",
    "http": "Download it, and give the path.",
    "https": "Download it, and give the path.",
}


def scheme(place: str | Path) -> str | None:
    """Return the scheme of a URI, in small letters; None of a path."""
    head, separator, _ = str(place).partition("://")
    return head.lower() if separator else None


def is_uri(place: str | Path) -> bool:
    """Whether a place is a URI, of a scheme that is supported or of another."""
    return scheme(place) is not None


def check_place(place: str, key: str = "") -> str:
    """A path, or a URI without slashes at its end, if its scheme is supported and names a bucket.

    Args:
        place: what was given.
        key: where, to name in the error, as in ``release.publish_to``.

    Raises:
        UserError: another scheme, or no bucket.
    """
    check_no_login(place, key)
    kind = scheme(place)
    if kind is None:
        return place
    prefix = f"{key}: " if key else ""
    if kind not in SCHEMES:
        remedy = _INSTEAD.get(kind, "Copy it to one of these, or mount it and give the path.")
        raise UserError(
            f"{prefix}{place} is on a file system that is not supported. Supported are paths of "
            f"local and mounted disks, s3:// and gs://. {remedy}"
        )
    bucket = place.partition("://")[2].partition("/")[0]
    if not bucket:
        raise UserError(
            f"{prefix}{place} names no bucket. Write {kind}://BUCKET/FOLDER. Received: {place!r}."
        )
    return f"{kind}://{place.partition('://')[2].rstrip('/')}"


def check_no_login(place: str | Path, key: str = "") -> None:
    """Raise UserError if a URI holds a user or a password, which is not repeated.

    Args:
        place: what was given; a `Path` that was made of a URI, too.
        key: where, to name in the error.
    """
    if re.match(r"[a-z][a-z0-9+.-]+:/{1,2}[^/]*@", str(place), re.IGNORECASE):
        raise UserError(
            f"{f'{key}: ' if key else ''}the address holds a user or a password, which would be "
            "written into logs and the run folder (not shown here). Take it out, and give "
            "credentials by the environment, such as AWS_PROFILE."
        )


def check_local(place: str | Path, remedy: str) -> None:
    """Raise UserError if ``place`` is a URI where only a path will do.

    Args:
        place: what was given; a `Path` that was made of a URI, too.
        remedy: what to do instead, a sentence.
    """
    check_no_login(place)
    # `Path` folds the slashes of s3://bucket to s3:/bucket.
    first = str(place).partition("/")[0]
    if is_uri(place) or (first.endswith(":") and len(first) > 2):
        raise UserError(
            f"{place} is not a path, and this must lie on a local or mounted disk. {remedy}"
        )


def may_hold_weights(place: str | Path) -> bool:
    """Whether TensorFlow can read weights from a folder, and not only write them.

    It takes the names of files with weights for patterns, and `[2024]` does not match itself.
    """
    return not {"[", "\\"} & set(str(place))


def check_weights_place(place: str | Path) -> None:
    """Raise UserError if TensorFlow could not read weights from a folder."""
    if not may_hold_weights(place):
        raise UserError(
            f"{place}: TensorFlow takes [ and \\ for a pattern where it reads weights again. Name "
            "another folder, or, if they are in the name of a folder above, go there and give the "
            "path from it."
        )


def join(place: str, *names: str) -> str:
    """Return a place below a folder or a URI."""
    return "/".join([place.rstrip("/"), *names])
