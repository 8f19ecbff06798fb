"""The way of texts without images through Beam: queries nobody clicked for, and files of texts."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import TaggedOutput

from tfx_pipeline.data import contract, writers
from tfx_pipeline.data.config import ExampleGenConfig
from tfx_pipeline.data.contract import Reason, Rejected
from tfx_pipeline.data.log_branch import TEXT_AGGREGATES, TEXT_SCHEMA, QueryCache
from tfx_pipeline.data.stats import count, count_rows, new_stats, reject
from tfx_pipeline.data.tables import GroupedRows, from_bytes, group, split_by_shard, to_bytes
from tfx_pipeline.data.text_files import open_text
from vl_models import features
from vl_models.errors import UserError

SINGLE_TEXTS = "train-text-only"
_LINES = 65_536  # at a time


class ReadTexts(beam.DoFn):
    """File of texts, one a line → its texts (by query shard), rejected lines, stats."""

    TEXTS, REJECTED, STATS = "texts", "rejected", "stats"

    def __init__(self, config: ExampleGenConfig):
        self.config = config

    def setup(self) -> None:
        """Start with an empty cache in each worker."""
        self.queries = QueryCache()

    def process(self, file: bytes) -> Iterator[TaggedOutput]:
        """Read one file to its end."""
        path = os.fsdecode(file)
        stats = new_stats()
        texts = GroupedRows(("query",), TEXT_AGGREGATES)
        try:
            for first, lines in _chunks(path):
                clean, rejected = self._clean(path, first, lines)
                count_rows(stats, path, len(lines), clean.num_rows, len(rejected))
                for row in rejected:
                    reject(stats, row)
                    yield TaggedOutput(self.REJECTED, row)
                yield from self._shards(texts.add(clean))
        except (UserError, OSError, EOFError) as error:
            # As data, not as an exception: runners do not hand exceptions through unharmed.
            stats["fatal"].append(
                str(error) if isinstance(error, UserError) else f"{path}: {error}"
            )
        yield from self._shards(texts.rest())
        yield TaggedOutput(self.STATS, stats)

    def _clean(self, path: str, first: int, lines: list[str]) -> tuple[pa.Table, list[Rejected]]:
        """Return texts (TEXT_SCHEMA, without clicks) and the lines that are none."""
        rejected, kept = [], []
        for row, line in enumerate(lines, first):
            try:
                line.encode("utf-8")
                kept.append((row, line))
            except UnicodeEncodeError:
                content = contract.content_json({"text": line})
                message = "the line is not valid UTF-8"
                rejected.append(Rejected(path, row, Reason.INVALID_UTF8, message, 1, content))
        column = pa.chunked_array([[line for _, line in kept]], pa.string())
        texts, languages = self.queries(column)
        for (row, _), text in zip(kept, texts.to_pylist()):
            if not text:
                message = "the line is empty after normalisation"
                rejected.append(Rejected(path, row, Reason.MISSING_QUERY, message))
        zeros = pa.repeat(pa.scalar(0, pa.int64()), len(kept))
        table = pa.table([texts, languages, zeros], schema=TEXT_SCHEMA)
        return table.filter(pc.not_equal(table["query"], "")), rejected

    def _shards(self, tables: Iterable[pa.Table]) -> Iterator[TaggedOutput]:
        for table in tables:
            for shard, part in split_by_shard(table, "query", self.config.shards):
                yield TaggedOutput(self.TEXTS, (shard, to_bytes(part)))


class WriteTexts(beam.DoFn):
    """All texts of one shard → Examples of those that no image was clicked for, and the stats."""

    def __init__(self, config: ExampleGenConfig, folder: str):
        self.config = config
        self.folder = folder

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[dict[str, Any]]:
        """Write one Example per text, in the order of the texts."""
        shard, pieces = element
        stats = new_stats()
        texts = group(from_bytes(pieces, TEXT_SCHEMA), ("query",), TEXT_AGGREGATES)
        alone = texts.filter(pc.equal(texts["clicks"], 0)).sort_by("query")
        name = writers.shard_name(shard, self.config.shards)
        path = f"{self.folder}/Split-{SINGLE_TEXTS}/{name}"
        written = writers.write_records(path, map(self._example, alone.to_pylist()))
        count(stats, "examples_train_text_only", written)
        yield stats

    def _example(self, row: dict[str, Any]) -> bytes:
        example = writers.make_example(
            {
                # No image; but a row is told from another by the id.
                features.IMAGE_ID: [f"text:{row['query']}".encode()],
                features.QUERY_TEXT: [row["query"].encode()],
                features.QUERY_LANGUAGE: [row["language"].encode()],
                features.SOURCE_TYPE: [b"text_only"],
                features.SOURCE_NAME: [self.config.source_name.encode()],
            }
        )
        return example.SerializeToString(deterministic=True)


def _chunks(path: str) -> Iterator[tuple[int, list[str]]]:
    """Lines of a file, some at a time, with the number of the first of them, from 1."""
    with open_text(path) as stream:
        first = 1
        while lines := list(itertools.islice(stream, _LINES)):
            yield first, [line.rstrip("\r\n") for line in lines]
            first += len(lines)
