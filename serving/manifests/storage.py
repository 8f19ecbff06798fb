"""Where pods get a release from: a volume claim that they mount, or an object store."""

from __future__ import annotations

import re
from dataclasses import dataclass

from serving.errors import ServingError
from serving.kubernetes_names import SUBDOMAIN, SUBDOMAIN_LENGTH

_CLAIM = re.compile(rf"pvc:(?://)?(?P<claim>{SUBDOMAIN})(?:/(?P<path>.*))?")
_URI = re.compile(r"(?P<scheme>s3|gs)://(?P<bucket>[A-Za-z0-9._-]+)(?:/(?P<path>.*))?")
# The object stores as rclone, which copies from them, names its backends.
_BACKENDS = {"s3": "s3", "gs": "gcs"}


@dataclass(frozen=True)
class Claim:
    """A PersistentVolumeClaim that holds the release root in `path` ("" is the whole volume)."""

    name: str
    path: str

    def uri(self, model: str) -> str:
        """Return the folder of a model, as KServe's `storageUri`."""
        return "/".join(part for part in (f"pvc://{self.name}", self.path, model) if part)


@dataclass(frozen=True)
class ObjectStore:
    """A copy of the release root in an object store: scheme s3 or gs."""

    scheme: str
    bucket: str
    path: str

    def uri(self, model: str) -> str:
        """Return the folder of a model, as KServe's `storageUri`."""
        return "/".join(p for p in (f"{self.scheme}://{self.bucket}", self.path, model) if p)

    def remote(self, folder: str) -> str:
        """Return a folder of the root as rclone names it, without a configuration file."""
        path = "/".join(part for part in (self.bucket, self.path, folder) if part)
        return f":{_BACKENDS[self.scheme]}:{path}"


Storage = Claim | ObjectStore


def parse_storage(text: str) -> Storage:
    """Read `pvc:CLAIM[/subpath]`, `s3://bucket[/path]` or `gs://bucket[/path]`.

    Raises:
        ServingError: anything else, or a path that leads out of the volume.
    """
    match = _CLAIM.fullmatch(text) or _URI.fullmatch(text)
    path = (match["path"] or "").strip("/") if match else ""
    too_long = match is not None and match.re is _CLAIM and len(match["claim"]) > SUBDOMAIN_LENGTH
    if match is None or too_long or not {"", ".", ".."}.isdisjoint(path.split("/") if path else ()):
        # What stands before an @ may be a password.
        received = (
            "one with a user or a password (not shown here); take it out, and give --secret NAME"
            if "@" in text
            else repr(text)
        )
        raise ServingError(
            "--storage is pvc:CLAIM[/subpath], s3://bucket[/path] or gs://bucket[/path], the place "
            f"of the release root as pods reach it. Received: {received}."
        )
    if match.re is _CLAIM:
        return Claim(match["claim"], path)
    return ObjectStore(match["scheme"], match["bucket"], path)
