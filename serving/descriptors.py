"""Protobuf messages built from a table, in a descriptor pool of their own.

The default pool must stay free for the real messages of TensorFlow and TensorFlow Serving: two
files that define the same name cannot be loaded into one pool.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Fields = Mapping[str, tuple[int, str]]

_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "int32": _FIELD.TYPE_INT32,
    "int64": _FIELD.TYPE_INT64,
    "uint32": _FIELD.TYPE_UINT32,
    "uint64": _FIELD.TYPE_UINT64,
    "float": _FIELD.TYPE_FLOAT,
    "double": _FIELD.TYPE_DOUBLE,
    "bool": _FIELD.TYPE_BOOL,
    "string": _FIELD.TYPE_STRING,
    "bytes": _FIELD.TYPE_BYTES,
}


def build_messages(
    package: str,
    messages: Mapping[str, Fields],
    one_of: Mapping[str, tuple[str, tuple[str, ...]]] | None = None,
) -> Callable[[str], Any]:
    """Return a function that gives the class of a message by its name.

    Args:
        package: of the messages; errors of the text format name it.
        messages: field -> (number, type) by message name. A type is that of a scalar or the name of
            another message; with "*" it is repeated, with "map:" before it a map from string.
            An enumeration travels as int32.
        one_of: message name -> (name of its oneof, fields of it).
    """
    file = descriptor_pb2.FileDescriptorProto(
        name=f"vlsearch/{package}.proto", package=package, syntax="proto3"
    )
    for message_name, fields in messages.items():
        message = file.message_type.add(name=message_name)
        choice, members = (one_of or {}).get(message_name, ("", ()))
        if choice:
            message.oneof_decl.add(name=choice)
        for name, (number, kind) in fields.items():
            repeated = kind.endswith("*") or kind.startswith("map:")
            field = message.field.add(
                name=name,
                number=number,
                label=_FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL,
            )
            if kind.startswith("map:"):
                field.type = _FIELD.TYPE_MESSAGE
                field.type_name = _add_map_entry(package, message, name, kind.removeprefix("map:"))
            else:
                _set_type(package, field, kind.removesuffix("*"))
            if name in members:
                field.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)

    def message_class(name: str) -> Any:
        return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))

    return message_class


def _set_type(package: str, field: descriptor_pb2.FieldDescriptorProto, kind: str) -> None:
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type = _FIELD.TYPE_MESSAGE
        field.type_name = f".{package}.{kind}"


def _add_map_entry(
    package: str, message: descriptor_pb2.DescriptorProto, name: str, kind: str
) -> str:
    camel_case = "".join(part.capitalize() for part in name.split("_"))
    entry = message.nested_type.add(name=f"{camel_case}Entry")
    entry.options.map_entry = True
    for number, (part, part_kind) in enumerate((("key", "string"), ("value", kind)), start=1):
        field = entry.field.add(name=part, number=number, label=_FIELD.LABEL_OPTIONAL)
        _set_type(package, field, part_kind)
    return f".{package}.{message.name}.{entry.name}"
