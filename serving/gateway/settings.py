"""What a search service is told when it starts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from serving.errors import ServingError


@dataclass(frozen=True)
class ClickLogSettings:
    """What is recorded of searches, and where.

    Attributes:
        folder: a data folder; made if it is missing.
        explore: share of the pairs of neighbours on a result page that change places, so that
            propensities can be measured (FairPairs; Radlinski & Joachims, AAAI 2006).
        without: patterns of queries that are not recorded; one that matches a part is enough.
        keep_days: spans older than that are deleted; None keeps all.

    Raises:
        ServingError: a share or a number out of range, or a pattern that is none.
    """

    folder: Path
    explore: float = 0.0
    without: Sequence[str] = ()
    keep_days: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.explore <= 1:
            raise ServingError(f"--explore is a share from 0 to 1. Received: {self.explore}.")
        if self.keep_days is not None and self.keep_days < 1:
            raise ServingError(f"--keep-days is 1 or more. Received: {self.keep_days}.")
        for pattern in self.without:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ServingError(
                    f"--log-without takes regular expressions; {pattern!r} is none: {error}."
                ) from error


@dataclass(frozen=True)
class GatewaySettings:
    """What a search service does, beside which release it serves.

    Attributes:
        log: what is recorded; None records nothing.
        token_key: signs impressions; processes behind one address need the same.
        impression_seconds: how long clicks on an answer are taken.
        rerank_seconds: how long reranking may take before the towers' order is returned.
        cached_answers: how many are kept.
        upload_bytes: of an image that is searched with.
        upload_pixels: likewise.
        request_bytes: of a whole request.
        image_roots: folders and bucket prefixes of images, beside the index's own.
        image_hosts: web servers that images may come from.
        private_image_hosts: let those have private addresses.
        allowed_hosts: names that the service is called by; those of its address are allowed.
        cors_origins: pages elsewhere that may use the API, as `https://shop.example.com`.
        bearer_token: without it nothing but the page's frame and health is answered; None asks
            for none.
        requests_per_second: of one client; None does not count.
        client_header: that a proxy puts the client's address in; None is the connection's.
        suggestions: how many.
    """

    log: ClickLogSettings | None = None
    token_key: bytes = b""
    impression_seconds: int = 3600
    rerank_seconds: float = 1.0
    cached_answers: int = 1000
    upload_bytes: int = 10 << 20
    upload_pixels: int = 50_000_000
    request_bytes: int = 16 << 20
    image_roots: Sequence[str] = ()
    image_hosts: Sequence[str] = ()
    private_image_hosts: bool = False
    allowed_hosts: Sequence[str] = ()
    cors_origins: Sequence[str] = ()
    bearer_token: str | None = None
    requests_per_second: float | None = None
    client_header: str | None = None
    suggestions: int = 8
