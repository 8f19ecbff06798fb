"""The log's way through Beam: read, validate, aggregate, split, weigh.

The elements of the shuffles are Arrow tables, already grouped by worker: their number
follows the distinct (query, image) pairs, not the rows of the log.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import TaggedOutput

from tfx_pipeline.data import checks, contract, propensity, splits, writers
from tfx_pipeline.data.config import ExampleGenConfig
from tfx_pipeline.data.contract import Reason, Rejected
from tfx_pipeline.data.correlation import COLUMNS, add_correlation, image_labels
from tfx_pipeline.data.duplicates import original_ids
from tfx_pipeline.data.images import strip_suffix
from tfx_pipeline.data.language import detect_language
from tfx_pipeline.data.query_sessions import SessionSketches
from tfx_pipeline.data.readers import RawBatch, read_batches
from tfx_pipeline.data.readers.base import malformed
from tfx_pipeline.data.stats import Stats, count, count_rows, new_stats, note, reject
from tfx_pipeline.data.tables import GroupedRows, from_bytes, group, split_by_shard, to_bytes
from tfx_pipeline.data.validate import validate
from vl_models.errors import UserError
from vl_models.features import SPLITS

PAIR_KEYS = ("query", "image_id", "split", "day", "position", "language")
PAIR_SUMS = (("clicks", "sum"), ("impressions", "sum"))
PAIR_AGGREGATES = (*PAIR_SUMS, ("image_label", "min"))
PAIR_SCHEMA = pa.schema(
    [
        ("query", pa.string()),  # normalised
        ("image_id", pa.string()),
        ("split", pa.string()),  # null: assigned later, or (policy given) unassigned
        ("day", pa.int64()),  # since 1970-01-01; only under by_time with fractions
        ("position", pa.int32()),
        ("language", pa.string()),
        ("clicks", pa.int64()),
        ("impressions", pa.int64()),
        ("image_label", pa.string()),  # as the rows of this pair have it; null without one
    ]
)
REF_KEYS = ("image_id", "image_uri", "spilled", "label", "label_text", "file")
REF_AGGREGATES = (("row", "min"), ("rows", "sum"))
REF_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("image_uri", pa.string()),
        ("spilled", pa.string()),  # where the bytes of a row were put
        ("label", pa.int64()),
        ("label_text", pa.string()),
        ("file", pa.string()),
        ("row", pa.int64()),
        ("rows", pa.int64()),
    ]
)
FINISHED_SCHEMA = pa.schema(
    [
        ("query", pa.string()),
        ("image_id", pa.string()),
        ("clicks", pa.int64()),
        ("weight", pa.float64()),
        ("split", pa.string()),
        ("language", pa.string()),
        ("query_total", pa.int64()),
        ("query_images", pa.int64()),
        ("image_label", pa.string()),
    ]
)
# Labels have served when the correlation is known.
FINAL_SCHEMA = pa.schema([*list(FINISHED_SCHEMA)[:-1], *COLUMNS])
TEXT_AGGREGATES = (("language", "min"), ("clicks", "sum"))
TEXT_SCHEMA = pa.schema(
    [
        ("query", pa.string()),  # normalised
        ("language", pa.string()),
        ("clicks", pa.int64()),  # on any image
    ]
)
# Rows of (pair, position) that the propensity estimate looks at: enough for any precision.
_ESTIMATE_ROWS = 4_000_000
_CACHED_QUERIES = 1_000_000


class QueryCache:
    """Normalised queries and their guessed language, each distinct query computed once."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, str]] = {}

    def __call__(self, queries: pa.ChunkedArray) -> tuple[pa.Array, pa.Array]:
        """Normalised text and language of each query, string[n]."""
        # Only here does the log branch need TensorFlow.
        from vl_models.text.normalize import normalize_batch

        encoded = queries.combine_chunks().dictionary_encode()
        distinct = encoded.dictionary.to_pylist()
        if len(self._known) > _CACHED_QUERIES:
            self._known.clear()
        new = [query for query in distinct if query not in self._known]
        for query, normal in zip(new, normalize_batch(new), strict=True):
            self._known[query] = (normal, detect_language(normal))
        values = [self._known[query] for query in distinct]
        texts = pa.array([text for text, _ in values], pa.string())
        languages = pa.array([language for _, language in values], pa.string())
        return texts.take(encoded.indices), languages.take(encoded.indices)


class ReadLog(beam.DoFn):
    """Log file → grouped pairs (by query shard), image references, rejected rows, stats.

    All queries, clicked or not, with the sum of their clicks go to TEXTS, and sketches of the
    sessions in which they were asked to SESSIONS.
    """

    PAIRS, REFS, REJECTED, STATS = "pairs", "refs", "rejected", "stats"
    TEXTS, SESSIONS = "texts", "sessions"

    def __init__(self, config: ExampleGenConfig, spill_dir: str):
        self.config = config
        self.spill_dir = spill_dir

    def setup(self) -> None:
        """Start with an empty query cache in each worker."""
        self.queries = QueryCache()

    def process(self, file: str | bytes) -> Iterator[TaggedOutput]:
        """Read one file to its end."""
        path = os.fsdecode(file)
        stats = new_stats()
        pairs = GroupedRows(PAIR_KEYS, PAIR_AGGREGATES)
        refs = GroupedRows(REF_KEYS, REF_AGGREGATES)
        texts = GroupedRows(("query",), TEXT_AGGREGATES)
        sessions = SessionSketches()
        spilled: set[str] = set()
        try:
            for batch in read_batches(path, self.config.format, self.config.csv):
                clean, rejected = self._clean(batch)
                count_rows(stats, batch.file, batch.read, clean.num_rows, len(rejected))
                for name in batch.unknown:
                    stats["unknown_columns"].setdefault(name, batch.file)
                for row in rejected:
                    reject(stats, row)
                    yield TaggedOutput(self.REJECTED, row)
                checks.count_early_dates(stats, clean, batch.file)
                added = pairs.add(self._pair_rows(clean, stats))
                yield from self._shards(added, self.PAIRS, "query")
                added = refs.add(self._ref_rows(clean, batch.file, spilled))
                yield from self._shards(added, self.REFS, "image_id")
                added = texts.add(clean.select(TEXT_SCHEMA.names).cast(TEXT_SCHEMA))
                yield from self._shards(added, self.TEXTS, "query")
                if "session_id" in clean.column_names:
                    added = sessions.add(clean["query"], clean["session_id"])
                    yield from self._shards(added, self.SESSIONS, "query")
        except UserError as error:
            # As data, not as an exception: runners do not hand exceptions through unharmed.
            stats["fatal"].append(str(error))
        yield from self._shards(pairs.rest(), self.PAIRS, "query")
        yield from self._shards(refs.rest(), self.REFS, "image_id")
        yield from self._shards(texts.rest(), self.TEXTS, "query")
        yield from self._shards(sessions.rest(), self.SESSIONS, "query")
        yield TaggedOutput(self.STATS, stats)

    def _clean(self, batch: RawBatch) -> tuple[pa.Table, list[Rejected]]:
        """Return the rows to go on with and the rejected ones; whatever a row raises rejects it."""
        try:
            return self._checked(batch)
        except (UserError, MemoryError):
            raise
        except Exception as error:
            if len(batch.rows) == 0:
                raise
            if len(batch.rows) == 1:
                message = f"the row cannot be used ({type(error).__name__}: {error})"
                faulty = malformed(batch.file, int(batch.rows[0]), message)
                return contract.CLEAN_SCHEMA.empty_table(), [*batch.rejected, faulty]
        halves = [self._clean(half) for half in batch.halves()]
        clean = pa.concat_tables((table for table, _ in halves), promote_options="permissive")
        return clean, [*batch.rejected, *(row for _, rejected in halves for row in rejected)]

    def _checked(self, batch: RawBatch) -> tuple[pa.Table, list[Rejected]]:
        policy = self.config.splits.policy
        clean, rejected = validate(batch, times=policy == "by_time", splits=policy == "given")
        queries, detected = self.queries(clean["query"])
        language = pc.fill_null(pc.utf8_lower(clean["language"].combine_chunks()), detected)
        ids = clean["image_id"].combine_chunks().dictionary_encode()
        images = self.config.images
        if images.root is not None and images.ids == "stem":
            stems = [strip_suffix(image_id) for image_id in ids.dictionary.to_pylist()]
            image_ids = pa.array(stems, pa.string()).take(ids.indices)
        else:
            image_ids = clean["image_id"].combine_chunks()
        blank = pc.equal(queries, "")
        for row in clean.filter(blank).to_pylist():
            content = contract.content_json({k: row[k] for k in ("query", "image_id")})
            message = "query is empty after normalisation"
            rejected.append(
                Rejected(batch.file, row["row"], Reason.MISSING_QUERY, message, 1, content)
            )
        clean = clean.set_column(0, "query", queries).set_column(1, "image_id", image_ids)
        clean = clean.set_column(clean.column_names.index("language"), "language", language)
        # Without need, filtering would copy images.
        return clean.filter(pc.invert(blank)) if pc.any(blank).as_py() else clean, rejected

    def _pair_rows(self, clean: pa.Table, stats: Stats) -> pa.Table:
        config = self.config.splits
        number = clean.num_rows
        split, day = pa.nulls(number, pa.string()), pa.nulls(number, pa.int64())
        if config.policy == "given":
            split = clean["split"]
            count(stats, "rows_without_split", split.null_count)
        elif config.policy == "by_time" and config.val_from is not None:
            split = splits.assign_by_time(clean["time"], config)
        elif config.policy == "by_time":
            seconds = clean["time"].cast(pa.timestamp("s"), safe=False).cast(pa.int64())
            day = pa.array(np.floor_divide(seconds.to_numpy(), 86_400))
            for value, rows in zip(*np.unique(day.to_numpy(), return_counts=True), strict=True):
                stats["days"][int(value)] = stats["days"].get(int(value), 0) + int(rows)
        labels = image_labels(clean["label"], clean["label_text"])
        clean = clean.drop_columns(["split"]).append_column("image_label", labels)
        table = clean.append_column("split", split).append_column("day", day)
        table = table.select(PAIR_SCHEMA.names).cast(PAIR_SCHEMA)
        if config.policy == "given":
            table = table.filter(pc.is_valid(table["split"]))
        if self.config.propensity.mode == "estimated":
            placed = table.filter(pc.greater(table["position"], 0))
            skips = placed["impressions"].to_numpy() - placed["clicks"].to_numpy()
            count(stats, "rows_with_position", placed.num_rows)
            count(stats, "skips_with_position", int(np.maximum(skips, 0).sum()))
        else:
            # Rows without a click serve the propensity estimate only.
            table = table.filter(pc.greater(table["clicks"], 0))
        return table

    def _ref_rows(self, clean: pa.Table, file: str, spilled: set[str]) -> pa.Table:
        number = clean.num_rows
        places = pa.nulls(number, pa.string())
        if "image_bytes" in clean.column_names:
            places = self._spill(clean, spilled)
        columns = {
            "image_id": clean["image_id"],
            "image_uri": clean["image_uri"],
            "spilled": places,
            "label": clean["label"],
            "label_text": clean["label_text"],
            "file": pa.repeat(file, number),
            "row": clean["row"],
            "rows": pa.repeat(pa.scalar(1, pa.int64()), number),
        }
        return pa.table(columns, schema=REF_SCHEMA)

    def _spill(self, clean: pa.Table, spilled: set[str]) -> pa.Array:
        """Put the bytes of each image's first row into a file named by their hash."""
        places: list[str | None] = []
        ids = clean["image_id"].to_pylist()
        for image_id, value in zip(ids, clean["image_bytes"], strict=True):
            data = value.as_py() if image_id not in spilled else None
            if data is None:
                places.append(None)
                continue
            spilled.add(image_id)
            places.append(spill(self.spill_dir, data))
        return pa.array(places, pa.string())

    def _shards(self, tables: Iterable[pa.Table], tag: str, key: str) -> Iterator[TaggedOutput]:
        for table in tables:
            for shard, part in split_by_shard(table, key, self.config.shards):
                yield TaggedOutput(tag, (shard, to_bytes(part)))


def spill(folder: str, data: bytes) -> str:
    """Write bytes to a file named by their hash, unless it is there; returns its path."""
    path = f"{folder}/{hashlib.sha256(data).hexdigest()}"
    if not writers.exists(path):
        writers.write_bytes(path, data)
    return path


def consolidate(element: tuple[int, Iterable[bytes]]) -> tuple[int, bytes]:
    """All pairs of one query shard, grouped."""
    shard, pieces = element
    return shard, to_bytes(group(from_bytes(pieces, PAIR_SCHEMA), PAIR_KEYS, PAIR_AGGREGATES))


def estimate_sample(element: tuple[int, bytes], shards: int) -> list[np.ndarray]:
    """Rows for the propensity estimate: int64[n, 4] of pair, position, clicks, impressions.

    A shard with too many rows gives those of the queries with the smallest hashes.
    """
    shard, piece = element
    table = from_bytes([piece], PAIR_SCHEMA)
    table = table.filter(pc.greater(table["position"], 0))
    table = group(table, ("query", "image_id", "position"), PAIR_SUMS)
    query = table["query"].combine_chunks().dictionary_encode()
    hashes = np.array([splits.unit_hash(text, 0) for text in query.dictionary.to_pylist()], float)
    order = np.argsort(hashes[query.indices.to_numpy()], kind="stable")
    kept = table.take(pa.array(order[: _ESTIMATE_ROWS // shards]))
    pair = pc.binary_join_element_wise(kept["query"], kept["image_id"], "\0")
    codes = pair.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    numbers = [kept[name].to_numpy() for name in ("position", "clicks", "impressions")]
    return [np.stack([codes + (shard << 40), *numbers], axis=1).astype(np.int64)]


def estimate(parts: list[np.ndarray], max_positions: int) -> np.ndarray:
    """Propensities from the shards' samples."""
    rows = np.concatenate(parts) if parts else np.zeros((0, 4), np.int64)
    return propensity.estimate_propensities(*rows.T, max_positions=max_positions)


class FinishPairs(beam.DoFn):
    """Pairs of one query shard → final pairs, for relevance and (by image shard) Examples."""

    RELEVANCE, EXAMPLES, STATS = "relevance", "examples", "stats"

    def __init__(self, config: ExampleGenConfig):
        self.config = config

    def process(
        self,
        element: tuple[int, bytes],
        bad_images: list[str],
        duplicates: list[bytes],
        propensities: np.ndarray | None,
        log_stats: Stats,
    ) -> Iterator[TaggedOutput]:
        """Drop pairs of rejected images, split, weigh, sum; score the queries."""
        shard, piece = element
        stats = new_stats()
        table = from_bytes([piece], PAIR_SCHEMA)
        keep = pc.and_(
            pc.greater(table["clicks"], 0),
            pc.invert(pc.is_in(table["image_id"], pa.array(bad_images, pa.string()))),
        )
        table = assign_splits(table.filter(keep), self.config, log_stats["days"], duplicates)
        pairs, seen_earlier = finish(table, propensities, self.config.propensity.clip)
        final = add_correlation(pairs, self.config.correlation, stats)
        count(stats, "pairs", final.num_rows)
        queries = pc.unique(final["query"])
        count(stats, "queries", len(queries))
        note(stats, "queries", queries.slice(0, 1).to_pylist())
        for name in SPLITS:
            count(stats, f"pairs_{name}", pc.sum(pc.equal(final["split"], name)).as_py() or 0)
        count(stats, "pairs_dropped_seen_in_earlier_split", seen_earlier)
        if propensities is not None:
            stats["propensities"] = [round(float(value), 6) for value in propensities]
        yield TaggedOutput(self.STATS, stats)
        yield TaggedOutput(self.RELEVANCE, (None, (shard, to_bytes(final))))
        for image_shard, part in split_by_shard(final, "image_id", self.config.shards):
            yield TaggedOutput(self.EXAMPLES, (image_shard, to_bytes(part)))


def assign_splits(
    table: pa.Table,
    config: ExampleGenConfig,
    rows_per_day: dict[int, int],
    duplicates: Iterable[bytes] = (),
) -> pa.Table:
    """Fill the split column of pairs where the policy could not do so row by row."""
    policy = config.splits.policy
    if policy in ("by_query", "by_pair", "by_image"):
        queries, images = (table[name].combine_chunks() for name in ("query", "image_id"))
        images = original_ids(images, duplicates)
        names = splits.assign_by_key(queries, images, config.splits)
    elif policy == "by_time" and config.splits.val_from is None:
        of_day = splits.day_splits(rows_per_day, config.splits)
        names = pa.array([of_day[day] for day in table["day"].to_pylist()], pa.string())
    else:
        return table
    return table.set_column(table.column_names.index("split"), "split", names)


def finish(table: pa.Table, propensities: np.ndarray | None, clip: float) -> tuple[pa.Table, int]:
    """Aggregate to one row per (query, image), with weight and the query's totals.

    A pair in several splits stays in the earliest; its language is the one most clicked.

    Args:
        table: PAIR_SCHEMA, all rows of each query, split assigned, clicks > 0.
        propensities: theta by position, or None.
        clip: the largest weight of one click.

    Returns:
        FINISHED_SCHEMA sorted by query and image; the number of (pair, split) rows dropped.
    """
    clicks = table["clicks"].to_numpy()
    positions = table["position"].to_numpy()
    weight = clicks * propensity.click_weights(positions, propensities, clip)
    rank = pc.index_in(table["split"], pa.array(SPLITS)).combine_chunks()
    table = table.append_column("weight", pa.array(weight)).append_column("rank", rank)
    by_language = group(
        table,
        ("query", "image_id", "rank", "language"),
        (("clicks", "sum"), ("weight", "sum"), ("image_label", "min")),
    ).sort_by(
        [
            ("query", "ascending"),
            ("image_id", "ascending"),
            ("rank", "ascending"),
            ("clicks", "descending"),
            ("language", "ascending"),
        ]
    )
    pairs = group(
        by_language,
        ("query", "image_id", "rank"),
        (("clicks", "sum"), ("weight", "sum"), ("language", "first"), ("image_label", "min")),
    )
    earliest = group(
        pairs,
        ("query", "image_id"),
        (
            ("rank", "min"),
            ("clicks", "first"),
            ("weight", "first"),
            ("language", "first"),
            ("image_label", "min"),
        ),
    )
    names = pa.array(SPLITS).take(earliest["rank"].combine_chunks())
    final = earliest.append_column("split", names)
    totals = final.group_by(["query", "split"]).aggregate([("clicks", "sum"), ("clicks", "count")])
    names = ["query", "split", "query_total", "query_images"]
    final = final.join(totals.rename_columns(names), ["query", "split"])
    final = final.select(FINISHED_SCHEMA.names).cast(FINISHED_SCHEMA)
    final = final.sort_by([("query", "ascending"), ("image_id", "ascending")])
    return final, pairs.num_rows - final.num_rows
