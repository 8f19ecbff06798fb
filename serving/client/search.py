"""Clients of the search service, with and without asyncio. They need httpx, and not TensorFlow.

Calls are written once, as requests and how their answers are read; a client says how they are sent.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Self, TypeVar
from urllib.parse import quote

import httpx

from serving.client.search_results import SearchResult
from serving.errors import Code, ServingError, StatusError

R = TypeVar("R")

URL = "http://127.0.0.1:8080"
TIMEOUT = 30.0

_CODES = {
    400: Code.INVALID_ARGUMENT,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    413: Code.OUT_OF_RANGE,
    429: Code.RESOURCE_EXHAUSTED,
    503: Code.UNAVAILABLE,
    504: Code.DEADLINE_EXCEEDED,
}


@dataclass(frozen=True)
class _Call(Generic[R]):
    """A request, and how its answer is read."""

    method: str
    path: str
    read: Callable[[httpx.Response], R]
    json: Any = None
    params: Mapping[str, str] | None = None


def _search(
    query: str | None,
    image: bytes | str | Path | None,
    id: str | None,
    queries: Sequence[Mapping[str, Any]] | None,
    options: Mapping[str, Any],
) -> _Call[SearchResult]:
    body: dict[str, Any] = {"query": query, "id": id}
    if image is not None:
        body["image"] = _base64(image)
    if queries is not None:
        body["queries"] = [
            {**part, "image": _base64(part["image"])} if "image" in part else dict(part)
            for part in queries
        ]
    body |= options
    given = {name: value for name, value in body.items() if value is not None}
    return _Call("POST", "v1/search", lambda answer: SearchResult.of(answer.json()), json=given)


def _base64(image: bytes | str | Path) -> str:
    content = image if isinstance(image, bytes) else Path(image).read_bytes()
    return base64.b64encode(content).decode("ascii")


def _click(answer: SearchResult | str, id: str) -> _Call[bool]:
    token = answer if isinstance(answer, str) else answer.token
    if token is None:
        raise ServingError("The service records nothing of this answer, so it has no token.")
    body = {"token": token, "id": id}
    return _Call("POST", "v1/events", lambda answer: answer.json()["recorded"], json=body)


def _json(path: str, params: Mapping[str, str] | None = None) -> _Call[dict[str, Any]]:
    return _Call("GET", path, lambda answer: answer.json(), params=params)


def _bytes(path: str, id: str) -> _Call[bytes]:
    return _Call("GET", f"{path}/{quote(id, safe='')}", lambda answer: answer.content)


class _BaseSearchClient:
    """Settings of a client of a search service.

    Args:
        url: of the service.
        token: that it asks for.
        timeout: seconds that a call may take.
    """

    def __init__(self, url: str = URL, token: str | None = None, timeout: float = TIMEOUT):
        self._settings: dict[str, Any] = {
            "base_url": url if url.endswith("/") else f"{url}/",
            "headers": {"Authorization": f"Bearer {token}"} if token else {},
            "timeout": timeout,
        }

    def _request(self, call: _Call[Any]) -> dict[str, Any]:
        return {
            "method": call.method,
            "url": call.path,
            **({} if call.json is None else {"json": call.json}),
            **({} if call.params is None else {"params": call.params}),
        }

    @staticmethod
    def _answer(call: _Call[R], answer: httpx.Response) -> R:
        if answer.is_success:
            return call.read(answer)
        try:
            message = answer.json()["error"]["message"]
        except (ValueError, KeyError, TypeError):
            message = answer.reason_phrase
        raise StatusError(_CODES.get(answer.status_code, Code.UNKNOWN), message)

    def _failure(self, error: httpx.HTTPError) -> StatusError:
        url = self._settings["base_url"]
        if isinstance(error, httpx.TimeoutException):
            return StatusError(Code.DEADLINE_EXCEEDED, f"{url} did not answer in time.")
        return StatusError(Code.UNAVAILABLE, f"No search service answers at {url}: {error}")


class SearchClient(_BaseSearchClient):
    """Calls a search service (`vlsearch search`) and waits for the answers.

    Safe to share between threads. Every method raises StatusError if the service refuses the
    request or does not answer; `.code` says which.
    """

    def __init__(self, url: str = URL, token: str | None = None, timeout: float = TIMEOUT):
        super().__init__(url, token, timeout)
        self._http = httpx.Client(**self._settings)

    def search(
        self,
        query: str | None = None,
        *,
        image: bytes | str | Path | None = None,
        id: str | None = None,
        queries: Sequence[Mapping[str, Any]] | None = None,
        k: int = 20,
        offset: int = 0,
        filter: Mapping[str, Any] | None = None,
        rerank: int | None = None,
        explain: bool = False,
        session: str | None = None,
        language: str | None = None,
    ) -> SearchResult:
        """Search for one of a text, an image, an item, or a mix of them.

        Args:
            query: a text in any language.
            image: the bytes of a file, or its path.
            id: of an item: what is like it.
            queries: parts of a mix, such as ``{"text": …, "weight": 1}`` and ``{"id": …,
                "weight": -0.5}``; an ``image`` is bytes or a path here, too.
            k: hits.
            offset: of the first hit.
            filter: by item column: a value, a list of values, or a range of gte, gt, lte, lt.
            rerank: how many of the first hits the reranker scores; None as released.
            explain: also tell the cosine of each hit to each part.
            session: who searches, for the click log; None is a new one.
            language: of the query, for the click log.
        """
        options = {
            "k": k,
            "offset": offset,
            "filter": filter,
            "rerank": rerank,
            "explain": explain,
            "session": session,
            "language": language,
        }
        return self._call(_search(query, image, id, queries, options))

    def click(self, answer: SearchResult | str, id: str) -> bool:
        """Tell of a click on an item of an answer (or of its token); whether it counts."""
        return self._call(_click(answer, id))

    def suggest(self, start: str) -> list[str]:
        """Return queries of the log that begin so, the most clicked first."""
        return self._call(_json("v1/suggest", {"q": start}))["suggestions"]

    def item(self, id: str) -> dict[str, Any]:
        """Return an item's columns, and the queries that people found it by."""
        return self._call(_json(f"v1/items/{quote(id, safe='')}"))

    def collection(self) -> dict[str, Any]:
        """Return what is searched: columns, their values and how many items have them."""
        return self._call(_json("v1/collection"))

    def image(self, id: str) -> bytes:
        """Return the picture of an item."""
        return self._call(_bytes("images", id))

    def thumbnail(self, id: str) -> bytes:
        """Return a small picture of an item, WebP."""
        return self._call(_bytes("thumbnails", id))

    def is_ready(self) -> bool:
        """Whether searches are answered."""
        try:
            return self._http.get("readyz").status_code == 200
        except httpx.HTTPError:
            return False

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _call(self, call: _Call[R]) -> R:
        try:
            answer = self._http.request(**self._request(call))
        except httpx.HTTPError as error:
            raise self._failure(error) from error
        return self._answer(call, answer)


class AsyncSearchClient(_BaseSearchClient):
    """`SearchClient` for asyncio: the same calls, to be awaited."""

    def __init__(self, url: str = URL, token: str | None = None, timeout: float = TIMEOUT):
        super().__init__(url, token, timeout)
        self._http = httpx.AsyncClient(**self._settings)

    async def search(
        self,
        query: str | None = None,
        *,
        image: bytes | str | Path | None = None,
        id: str | None = None,
        queries: Sequence[Mapping[str, Any]] | None = None,
        **options: Any,
    ) -> SearchResult:
        """See `SearchClient.search`, whose other arguments this takes, too."""
        return await self._call(_search(query, image, id, queries, options))

    async def click(self, answer: SearchResult | str, id: str) -> bool:
        """See `SearchClient.click`."""
        return await self._call(_click(answer, id))

    async def suggest(self, start: str) -> list[str]:
        """See `SearchClient.suggest`."""
        return (await self._call(_json("v1/suggest", {"q": start})))["suggestions"]

    async def item(self, id: str) -> dict[str, Any]:
        """See `SearchClient.item`."""
        return await self._call(_json(f"v1/items/{quote(id, safe='')}"))

    async def collection(self) -> dict[str, Any]:
        """See `SearchClient.collection`."""
        return await self._call(_json("v1/collection"))

    async def image(self, id: str) -> bytes:
        """See `SearchClient.image`."""
        return await self._call(_bytes("images", id))

    async def thumbnail(self, id: str) -> bytes:
        """See `SearchClient.thumbnail`."""
        return await self._call(_bytes("thumbnails", id))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def _call(self, call: _Call[R]) -> R:
        try:
            answer = await self._http.request(**self._request(call))
        except httpx.HTTPError as error:
            raise self._failure(error) from error
        return self._answer(call, answer)
