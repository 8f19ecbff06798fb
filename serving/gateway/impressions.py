"""Impressions: what was shown to whom, in a token that the page sends back with a click.

The token is signed and expires, so that clicks are counted on answers that were really given:
query, ids, positions, release and ranking are taken from it and from nowhere else.
"""

from __future__ import annotations

import dataclasses
import secrets
import time
from typing import Any

from itsdangerous import BadData, URLSafeTimedSerializer

from serving.errors import ServingError
from serving.reranking import Ranking


class BadTokenError(ServingError):
    """A token that is not ours, or is too old."""


@dataclasses.dataclass(frozen=True)
class Impression:
    """One result page.

    Attributes:
        key: random, its own.
        time: seconds since 1970.
        query: as it was typed.
        session: random, of the client.
        release: version that answered.
        ranking: whose order it had.
        first: position of the first id, from 1.
        ids: in the order shown.
        language: as the client named it; "" if it did not.
    """

    key: str
    time: float
    query: str
    session: str
    release: int
    ranking: Ranking
    first: int
    ids: tuple[str, ...]
    language: str = ""

    @classmethod
    def of(cls, query: str, session: str, ids: tuple[str, ...], **details: Any) -> Impression:
        """Return a new one, shown now."""
        now = round(time.time(), 3)
        return cls(secrets.token_hex(8), now, query, session, ids=ids, **details)

    def position(self, item: str) -> int | None:
        """Position of an item; None if it was not shown."""
        return self.first + self.ids.index(item) if item in self.ids else None


_FIELDS = tuple(field.name for field in dataclasses.fields(Impression))


class ImpressionTokens:
    """Signs impressions and reads them back.

    Args:
        key: secret; the same in all processes behind one address. b"" draws one.
        seconds: how long a token is good.
    """

    def __init__(self, key: bytes, seconds: int):
        self._seconds = seconds
        self._serializer = URLSafeTimedSerializer(key or secrets.token_bytes(32), "impression")

    def sign(self, impression: Impression) -> str:
        """Return the token of an impression."""
        return str(self._serializer.dumps(dataclasses.astuple(impression)))

    def read(self, token: str) -> Impression:
        """Return the impression of a token.

        Raises:
            BadTokenError: it was not signed with this key, or is too old.
        """
        try:
            values = self._serializer.loads(token, max_age=self._seconds)
            fields = dict(zip(_FIELDS, values, strict=True))
            return Impression(**{**fields, "ids": tuple(fields["ids"])})
        except (BadData, TypeError, ValueError, UnicodeError):
            raise BadTokenError(
                "The impression token is not one of this service, or is too old. Search again."
            ) from None
