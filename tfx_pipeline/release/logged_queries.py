"""The log's queries as an index holds them: what people found with them, in the train split alone.

Clicks of val and test stay out, as they do in training: what a search learns from its log is
measured on those.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from serving.logged_queries import QUERIES_SCHEMA
from tfx_pipeline.data.query_sessions import SESSIONS_SCHEMA

_RELEVANCE, _SESSIONS = "relevance.parquet", "sessions.parquet"
_MOST_IMAGES = 50  # of a query


def read_logged_queries(relevance: Path) -> pa.Table:
    """Return `serving.logged_queries.QUERIES_SCHEMA`, sorted by query.

    Args:
        relevance: folder of `relevance.parquet` and, of logs that name sessions,
            `sessions.parquet`.
    """
    columns = ["query", "image_id", "clicks", "language"]
    only_train = [("split", "=", "train")]
    rows = pq.read_table(relevance / _RELEVANCE, columns=columns, filters=only_train)
    ordered = rows.sort_by(
        [("query", "ascending"), ("clicks", "descending"), ("image_id", "ascending")]
    )
    grouped = ordered.group_by("query", use_threads=False).aggregate(
        [("language", "first"), ("clicks", "sum"), ("image_id", "list"), ("clicks", "list")]
    )
    sessions = SESSIONS_SCHEMA.empty_table()
    if (path := relevance / _SESSIONS).is_file():
        sessions = pq.read_table(path)
    place = pc.index_in(grouped["query"], value_set=sessions["query"].combine_chunks())
    first = {"start": 0, "stop": _MOST_IMAGES}
    queries = pa.table(
        {
            "query": grouped["query"],
            "language": grouped["language_first"],
            "clicks": grouped["clicks_sum"],
            "sessions": sessions["sessions"].take(place),
            "images": pc.list_slice(grouped["image_id_list"], **first),
            "image_clicks": pc.list_slice(grouped["clicks_list"], **first),
        }
    )
    return queries.cast(QUERIES_SCHEMA).sort_by("query")
