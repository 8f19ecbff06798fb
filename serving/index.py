"""The vector index of a release: FAISS in process, behind an interface that others can fill.

Files: `index.faiss`, `items.parquet` (see `serving.items`; in row order), `index.json`
(tower_version, metric, kind, dimension, count, bits, source_prefix, image_tokens), where the
release's reranker reads images apart from texts `image_tokens.npy`, and where there is a log
`queries.parquet` (see `serving.logged_queries`).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from serving import arguments, files
from serving.checksums import Listing, check_folder
from serving.errors import DiskError, MissingFileError, ServingError
from serving.image_tokens import TOKENS_FILE, read_image_tokens, write_image_tokens
from serving.index_description import (
    DESCRIPTION_FILE,
    IMAGE_TOKENS,
    REBUILD,
    read_description,
    write_description,
)
from serving.items import CONTENT, ITEMS_FILE, ItemTable, name_of
from serving.logged_queries import QUERIES_FILE, LoggedQueries

if TYPE_CHECKING:
    import pyarrow as pa

INDEX_FILES = (DESCRIPTION_FILE, "index.faiss", ITEMS_FILE)
KINDS = ("flat", "hnsw", "binary")
_BITS = 8  # of a byte
_NORM_TOLERANCE = 1e-3
# Links per node and breadth while building: FAISS's usual choice for vectors of a few hundred
# dimensions. Breadth while searching can be chosen later, so it is not in the file.
_HNSW_LINKS = 32
_HNSW_BUILD_BREADTH = 200
# Up to this share of the images, those that a filter leaves are all compared: an HNSW search loses
# neighbours in silence where most of what it walks over does not count.
_EXACT_SHARE = 0.5


@dataclass(frozen=True)
class Hit:
    """One result: the id and address of the image, and its similarity to the query.

    The similarity is the cosine; in a binary index that of the signs, which is
    1 - 2 · Hamming distance / bits.

    Attributes:
        id: of the image.
        uri: where the image is.
        score: its similarity to the query.
        rerank_score: of the release's reranker; None where that did not score it.
        row: of the image in its index, -1 where that has no rows.
        item: columns of the image by name, where a search adds them.
    """

    id: str
    uri: str
    score: float
    rerank_score: float | None = None
    row: int = field(default=-1, repr=False, compare=False)
    item: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def name(self) -> str:
        """What people call it: its column `name` or `title`, else its id."""
        return name_of(self.item) or self.id


class Index(Protocol):
    """What a search needs from an index, whether it is in process or a cluster."""

    @property
    def tower_version(self) -> int | None:
        """Version of the towers whose embeddings it holds."""

    @property
    def dimension(self) -> int:
        """Length of the vectors."""

    def __len__(self) -> int: ...

    @property
    def source_prefix(self) -> str | None:
        """Folder or store that the uris are relative to."""

    def image_tokens(self, rows: Sequence[int]) -> np.ndarray | None:
        """Tokens of the images of some rows, float16 [B, T, W]; None if it holds none."""

    @property
    def items(self) -> ItemTable:
        """What is known of the images, by row."""

    @property
    def queries(self) -> LoggedQueries:
        """What people searched for; none where the index does not hold it."""

    def vectors(self, rows: Sequence[int]) -> np.ndarray:
        """Unit vectors of the images of some rows, float32 [B, D]."""

    def search(
        self, vectors: np.ndarray, k: int, selected: np.ndarray | None = None
    ) -> list[list[Hit]]:
        """For each row of float32 `vectors` [B, D], up to k hits, best first.

        Args:
            vectors: to be near to.
            k: hits of each.
            selected: bool [N]; only those rows are hits.
        """


def sign_bits(vectors: np.ndarray) -> np.ndarray:
    """Signs of float [B, D] as bits, uint8 [B, D / 8]: 1 from 0 on, the least significant first."""
    return np.packbits(np.asarray(vectors) >= 0, axis=1, bitorder="little")


def build_index(
    embeddings: np.ndarray,
    ids: Sequence[str],
    uris: Sequence[str],
    out_dir: str | Path,
    *,
    tower_version: int | None = None,
    kind: str = "flat",
    source_prefix: str | None = None,
    image_tokens: Iterable[tuple[np.ndarray, np.ndarray]] | None = None,
    items: pa.Table | None = None,
    contents: Sequence[str] | None = None,
    queries: pa.Table | None = None,
) -> None:
    """Write the index of a gallery into `out_dir`, which appears complete or not at all.

    Args:
        embeddings: float32 [N, D], unit-norm rows.
        ids: N image ids, unique.
        uris: N image addresses.
        out_dir: folder of the index; one that exists is replaced.
        tower_version: version of the towers that made the embeddings; None where it is only known
            when the release is published, which fills it in.
        kind: "flat" (exact), "hnsw" (approximate, milliseconds for millions of images) or
            "binary" (one bit per dimension, its sign, which is the hash code of towers that hash;
            exact by Hamming distance).
        source_prefix: folder or store that the uris are relative to.
        image_tokens: what the release's reranker reads of the images, in pieces of any order:
            rows int [n] and tokens float16 [n, T, W]. Each row is there once.
        items: N rows of item columns, see `serving.items`.
        contents: SHA-256 of each encoded image; those that have not changed are not encoded again.
        queries: what people searched for, see `serving.logged_queries`.

    Raises:
        ServingError: sizes that differ, rows that are not unit-norm, repeated ids, dimensions
            that do not fill bytes, image tokens of other rows.
        DiskError: `out_dir` cannot be written.
    """
    import faiss
    import pyarrow.parquet as pq

    vectors = np.ascontiguousarray(embeddings, dtype=np.float32)
    _check_items(vectors, ids, uris)
    if kind not in KINDS:
        raise ServingError(f"An index is one of {', '.join(KINDS)}. Received: kind={kind!r}.")
    count, dimension = vectors.shape
    binary = kind == "binary"
    if binary and dimension % _BITS:
        raise ServingError(
            "A binary index needs dimensions that fill bytes, a multiple of 8. "
            f"Received: {dimension} dimensions."
        )
    if binary:
        index: Any = faiss.IndexBinaryFlat(dimension)
    elif kind == "flat":
        index = faiss.IndexFlatIP(dimension)
    else:
        index = faiss.IndexHNSWFlat(dimension, _HNSW_LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = _HNSW_BUILD_BREADTH
    index.add(sign_bits(vectors) if binary else vectors)

    description: dict[str, Any] = {
        "tower_version": tower_version,
        "metric": "hamming" if binary else "inner_product",
        "kind": kind,
        "dimension": dimension,
        "count": count,
        "bits": dimension if binary else None,
        "source_prefix": source_prefix,
    }
    target = Path(out_dir)
    with files.new_tree(target) as temporary:
        temporary.mkdir(parents=True)
        write = faiss.write_index_binary if binary else faiss.write_index
        try:
            write(index, str(temporary / "index.faiss"))
        except RuntimeError as error:
            raise DiskError(f"{target} cannot be written: {error}") from error
        table = ItemTable.of(ids, uris, items).table
        if contents is not None:
            table = table.append_column(CONTENT, [list(contents)])
        pq.write_table(table, temporary / ITEMS_FILE)
        if queries is not None:
            pq.write_table(queries, temporary / QUERIES_FILE)
        if image_tokens is not None:
            shape = write_image_tokens(temporary / TOKENS_FILE, count, image_tokens)
            description[IMAGE_TOKENS] = {"reranker_version": tower_version, "shape": list(shape)}
        write_description(temporary, description)


class SearchIndex:
    """A FAISS index in this process. Safe to search from several threads.

    Args:
        ef_search: breadth of an HNSW search; more finds more of the true neighbours, slower.
    """

    def __init__(
        self,
        index: Any,
        items: ItemTable,
        description: dict[str, Any],
        ef_search: int = 64,
        image_tokens: np.ndarray | None = None,
        queries: LoggedQueries | None = None,
    ):
        self._image_tokens = image_tokens
        self._index = index
        self.items = items
        self.queries = LoggedQueries.none() if queries is None else queries
        self.description = description
        self._ef_search = ef_search

    @classmethod
    def load(
        cls, folder: str | Path, ef_search: int = 64, listing: Listing | None = None
    ) -> SearchIndex:
        """Read what `build_index` wrote.

        Args:
            folder: of the index.
            ef_search: as in the constructor.
            listing: checksums of the release; None is those of the model card, which an index has
                that was published.

        Raises:
            ServingError: a file that is missing or broken, files that disagree, or that are not
                those of the release.
        """
        folder = Path(folder)
        for name in INDEX_FILES:
            try:
                with files.naming_errors("read", folder / name):
                    (folder / name).lstat()
            except MissingFileError:
                raise ServingError(
                    f"{folder} is not an index: it has no {name}. An index folder holds "
                    f"index.faiss, items.parquet and index.json. {REBUILD}"
                ) from None
        optional = [name for name in (TOKENS_FILE, QUERIES_FILE) if (folder / name).exists()]
        check_folder(folder, (*INDEX_FILES, *optional), listing)
        description = _checked_description(folder)
        index = _read_faiss(folder / "index.faiss", description["kind"])
        items = ItemTable.read(folder / ITEMS_FILE)
        expected = (description["count"], description["dimension"])
        if (index.ntotal, index.d) != expected or len(items) != index.ntotal:
            raise ServingError(
                f"The files of {folder} do not belong together: index.json says {expected[0]} "
                f"vectors of {expected[1]} dimensions, index.faiss holds {index.ntotal} of "
                f"{index.d}, items.parquet {len(items)} rows. {REBUILD}"
            )
        tokens = None
        if description.get(IMAGE_TOKENS) is not None:
            shape = (len(items), *description[IMAGE_TOKENS]["shape"])
            tokens = read_image_tokens(folder / TOKENS_FILE, shape)
        queries = None
        if QUERIES_FILE in optional:
            queries = LoggedQueries.read(folder / QUERIES_FILE)
        return cls(index, items, description, ef_search, tokens, queries)

    @property
    def tower_version(self) -> int | None:
        """Version of the towers whose embeddings it holds; None before publication."""
        return self.description.get("tower_version")

    @property
    def dimension(self) -> int:
        """Length of the vectors."""
        return self._index.d

    @property
    def source_prefix(self) -> str | None:
        """Folder or store that the uris are relative to; None if they stand for themselves."""
        return self.description.get("source_prefix")

    @property
    def has_image_tokens(self) -> bool:
        """Whether it holds what a reranker has read of the images."""
        return self._image_tokens is not None

    @property
    def reranker_version(self) -> int | None:
        """Version of the reranker whose tokens it holds; None without, or before publication."""
        return (self.description.get(IMAGE_TOKENS) or {}).get("reranker_version")

    @property
    def ids(self) -> Sequence[str]:
        """Ids of the images, by row."""
        return self.items.ids

    def __len__(self) -> int:
        return self._index.ntotal

    def image_tokens(self, rows: Sequence[int]) -> np.ndarray | None:
        """Tokens of the images of some rows, float16 [B, T, W]; None if it holds none."""
        if self._image_tokens is None:
            return None
        return self._image_tokens[list(rows)]

    def vectors(self, rows: Sequence[int]) -> np.ndarray:
        """Unit vectors of the images of some rows, float32 [B, D]; of a binary index their signs.

        Raises:
            ServingError: a row that there is not.
        """
        chosen = np.asarray(rows, np.int64)
        if len(chosen) and not (chosen.min() >= 0 and chosen.max() < len(self)):
            raise ServingError(f"The index has the rows 0 to {len(self) - 1}. Received: {rows}.")
        if self._kind == "binary":
            signs = np.unpackbits(self._codes()[chosen], axis=1, bitorder="little")
            return ((2.0 * signs - 1.0) / np.sqrt(self.dimension)).astype(np.float32)
        return self._vector_storage().reconstruct_batch(chosen)

    def search(
        self, vectors: np.ndarray, k: int, selected: np.ndarray | None = None
    ) -> list[list[Hit]]:
        """For each row of `vectors` float32 [B, D], the k most similar items, best first.

        k above the number of items gives all items. An HNSW search may find fewer than k. A binary
        index compares the signs; among equal distances the order is FAISS' own, or that of the
        rows where some are selected. Of an HNSW index a selection of half the items or less is
        searched exactly.

        Args:
            vectors: to be near to.
            k: hits of each.
            selected: bool [N]; only those rows are hits.

        Raises:
            ServingError: vectors of another dimension, or k below 1.
        """

        vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != self.dimension:
            raise ServingError(
                f"The index holds vectors of {self.dimension} dimensions, the queries have shape "
                f"{list(vectors.shape)}: encode them with the towers the index was built with "
                f"(version {self.tower_version})."
            )
        k = min(arguments.whole_number("k", k), len(self))
        if selected is not None:
            k = min(k, int(np.count_nonzero(selected)))
        if k == 0:  # nothing is selected
            return [[] for _ in vectors]
        scores, rows = self._nearest(vectors, k, selected)
        # FAISS fills up with row -1 where it found fewer than k.
        return [
            [
                Hit(self.items.ids[row], self.items.uris[row], float(score), row=row)
                for row, score in zip(query_rows, query_scores)
                if row >= 0
            ]
            for query_rows, query_scores in zip(rows.tolist(), scores.tolist())
        ]

    def _nearest(
        self, vectors: np.ndarray, k: int, selected: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores float32 [B, k] and rows int64 [B, k]."""
        import faiss

        if self._kind == "binary":
            codes = sign_bits(vectors)
            if selected is None:
                distances, rows = self._index.search(codes, k)
            else:
                distances, rows = _nearest_codes(codes, self._codes(), np.flatnonzero(selected), k)
            return 1.0 - 2.0 * distances / self.dimension, rows
        selector = None
        if selected is not None:
            bits = np.packbits(selected, bitorder="little")
            selector = faiss.IDSelectorBitmap(bits)  # type: ignore[call-arg,arg-type]
        if self._kind == "hnsw" and (selected is None or selected.mean() > _EXACT_SHARE):
            # Per call instead of on the index: threads do not see each other's choice.
            breadth = max(self._ef_search, k)
            parameters: Any = faiss.SearchParametersHNSW(  # type: ignore[attr-defined]
                efSearch=breadth, sel=selector
            )
            return self._index.search(vectors, k, params=parameters)
        parameters = None if selector is None else faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
        return self._vector_storage().search(vectors, k, params=parameters)

    @property
    def _kind(self) -> str:
        return self.description.get("kind", "flat")

    def _vector_storage(self) -> Any:
        """The vectors themselves: those that an HNSW index walks over, or the index."""
        import faiss

        return faiss.downcast_index(self._index.storage) if self._kind == "hnsw" else self._index

    def _codes(self) -> np.ndarray:
        """Signs of a binary index as bits, uint8 [N, D / 8]."""
        import faiss

        flat = faiss.vector_to_array(self._index.xb)
        return flat.reshape(len(self), self.dimension // _BITS)


def _nearest_codes(
    queries: np.ndarray, codes: np.ndarray, rows: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Hamming distances int64 [B, k] and rows int64 [B, k] of the k nearest codes among some."""
    among = codes[rows]
    distances = np.stack([np.bitwise_count(among ^ query).sum(axis=1) for query in queries])
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances.astype(np.int64), order, axis=1), rows[order]


def _checked_description(folder: Path) -> dict[str, Any]:
    """Return index.json with a kind, which indexes of old lack, if all that is read of it fits."""
    description = {"kind": "flat", "tower_version": None} | read_description(folder)
    problem = None
    for name in ("count", "dimension"):
        if name not in description:
            problem = f"{name!r} is missing"
        elif type(description[name]) is not int:
            problem = f"{name}={description[name]!r}"
    if description["kind"] not in KINDS:
        problem = f"kind={description['kind']!r}"
    if not (description["tower_version"] is None or type(description["tower_version"]) is int):
        problem = f"tower_version={description['tower_version']!r}"
    tokens = description.get(IMAGE_TOKENS)
    if tokens is not None and not _is_shape(tokens):
        problem = f"{IMAGE_TOKENS}={tokens!r}"
    if problem is not None:
        raise ServingError(f"{folder / DESCRIPTION_FILE} is broken: {problem}. {REBUILD}")
    return description


def _is_shape(tokens: Any) -> bool:
    """Whether that describes image tokens: their shape [T, W]."""
    shape = tokens.get("shape") if isinstance(tokens, dict) else None
    return isinstance(shape, list) and len(shape) == 2 and all(type(n) is int for n in shape)


def _read_faiss(path: Path, kind: str) -> Any:
    import faiss

    classes: dict[str, Any] = {
        "flat": faiss.IndexFlatIP,
        "hnsw": faiss.IndexHNSWFlat,
        "binary": faiss.IndexBinaryFlat,
    }
    read = faiss.read_index_binary if kind == "binary" else faiss.read_index
    try:
        index: Any = read(os.fspath(path))
    except (RuntimeError, MemoryError) as error:
        raise ServingError(f"{path} is not a readable FAISS index. {REBUILD}") from error
    if not isinstance(index, classes[kind]) or (
        kind != "binary" and index.metric_type != faiss.METRIC_INNER_PRODUCT
    ):
        raise ServingError(
            f"{path} is not the {kind} index that index.json says it is: it holds an "
            f"{type(index).__name__}. {REBUILD}"
        )
    return index


def _check_items(vectors: np.ndarray, ids: Sequence[str], uris: Sequence[str]) -> None:
    if vectors.ndim != 2 or not len(vectors):
        raise ServingError(
            "An index needs embeddings [N, D] with at least one row. "
            f"Received: shape={list(vectors.shape)}."
        )
    arguments.texts("ids", ids)
    arguments.texts("uris", uris)
    if not len(vectors) == len(ids) == len(uris):
        raise ServingError(
            "Embeddings, ids and uris must be equally many. "
            f"Received: {len(vectors)} embeddings, {len(ids)} ids, {len(uris)} uris."
        )
    norms = np.linalg.norm(vectors, axis=1)
    # Written so that NaN counts as wrong.
    wrong = np.flatnonzero(~(np.abs(norms - 1) <= _NORM_TOLERANCE))
    if len(wrong):
        raise ServingError(
            f"{len(wrong)} of {len(vectors)} embeddings are not unit-norm; the first is row "
            f"{wrong[0]} ({ids[wrong[0]]}) with norm {norms[wrong[0]]:.6g}. Normalise them."
        )
    repeated = [item for item, times in Counter(ids).items() if times > 1]
    if repeated:
        raise ServingError(f"The ids of an index are unique. Received twice: {repeated[0]!r}.")
