"""MLMD on PostgreSQL, around two mistakes of ml-metadata 1.17.

Its PostgreSQL source asks libpq to quote a string (`PQescapeLiteral`) and cuts off the quotes. A
string with a backslash comes back as `E'…'`, of which the wrong ends are cut: the statement is
broken. JSON in properties has backslashes (`\\n`, `\\"`, `\\u5929`). So they are stored as another
character, and turned back when they are read.

It reads rows by their ids in no order, where SQLite and MySQL give them by id. TFX pairs the
artifacts of a cached step with the names of its outputs by their order, and would give one output's
files to the next step as another's. So rows by ids come in the order of the request.
"""

from __future__ import annotations

from typing import Any, Self

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration.metadata import Metadata

_BACKSLASH = "\\"
_STAND_IN = "\ue05c"  # private use: no text has it
# Calls that name ids: the request's field, and the response's.
_BY_IDS = {
    "GetArtifactsByID": ("artifact_ids", "artifacts"),
    "GetExecutionsByID": ("execution_ids", "executions"),
    "GetContextsByID": ("context_ids", "contexts"),
    "GetArtifactTypesByID": ("type_ids", "artifact_types"),
    "GetExecutionTypesByID": ("type_ids", "execution_types"),
    "GetContextTypesByID": ("type_ids", "context_types"),
}


class PostgreSQLStore(MetadataStore):
    """A store that writes no backslash, and gives rows in the order of their ids in the request."""

    def _call_method(self, method_name: str, request: Any, response: Any) -> None:
        exchange(request, _BACKSLASH, _STAND_IN)
        super()._call_method(method_name, request, response)
        exchange(response, _STAND_IN, _BACKSLASH)
        if method_name in _BY_IDS:
            ids, rows = _BY_IDS[method_name]
            place = {id_: index for index, id_ in enumerate(getattr(request, ids))}
            getattr(response, rows).sort(key=lambda row: place[row.id])


class PostgreSQLMetadata(Metadata):
    """TFX's handle with such a store."""

    def __enter__(self) -> Self:
        self._store = PostgreSQLStore(self._connection_config)
        self._users += 1
        return self


def open_store(connection: metadata_store_pb2.ConnectionConfig) -> MetadataStore:
    """Return the store of a connection."""
    shared = connection.HasField("postgresql")
    return PostgreSQLStore(connection) if shared else MetadataStore(connection)


def open_metadata(connection: metadata_store_pb2.ConnectionConfig) -> Metadata:
    """TFX's handle of a connection."""
    return (PostgreSQLMetadata if connection.HasField("postgresql") else Metadata)(connection)


def exchange(message: Message, old: str, new: str) -> None:
    """Replace a character in all strings of a message, in place."""
    if old.encode() not in message.SerializeToString():
        return
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_STRING:
            if field.is_repeated:
                value[:] = [text.replace(old, new) for text in value]
            else:
                setattr(message, field.name, value.replace(old, new))
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            for part in _messages(field, value):
                exchange(part, old, new)


def _messages(field: FieldDescriptor, value: Any) -> list[Message]:
    """Return the messages in a field; of a map its values, where MLMD has messages only."""
    if field.message_type.GetOptions().map_entry:
        return [part for part in value.values() if isinstance(part, Message)]
    return list(value) if field.is_repeated else [value]
