"""Answers that were given lately, by everything that decides them."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

from serving.filters import canonical
from serving.search import SearchAnswer, SearchRequest

Key = tuple[object, ...]


class AnswerCache:
    """Least recently used answers go first. Safe to share between threads.

    Args:
        size: how many are kept; 0 keeps none.
    """

    def __init__(self, size: int):
        self._size = size
        self._lock = threading.Lock()
        self._answers: OrderedDict[Key, SearchAnswer] = OrderedDict()

    def get(self, key: Key) -> SearchAnswer | None:
        """Return an answer that is kept."""
        with self._lock:
            if key in self._answers:
                self._answers.move_to_end(key)
            return self._answers.get(key)

    def put(self, key: Key, answer: SearchAnswer) -> None:
        """Keep an answer, unless it is a makeshift: one that says so in its note.

        One of another release than the key's is not kept either.
        """
        if answer.hits.note or answer.hits.release != key[0] or not self._size:
            return
        with self._lock:
            self._answers[key] = answer
            self._answers.move_to_end(key)
            while len(self._answers) > self._size:
                self._answers.popitem(last=False)


def key_of(request: SearchRequest, release: int) -> Key:
    """Return everything that decides an answer but the deadline, which decides whether it is one.

    Args:
        request: a search.
        release: version that answers.
    """
    parts = tuple(
        (
            part.text,
            None if part.image is None else hashlib.sha256(part.image).digest(),
            part.id,
            part.weight,
        )
        for part in request.parts
    )
    how = (request.rerank, request.order, request.weight, request.explain)
    return (release, parts, request.k, request.offset, canonical(request.filter), *how)
