"""The few messages of TensorFlow Serving's API that a client needs, without TensorFlow.

`tensorflow_serving.apis.predict_pb2` imports TensorFlow itself: seconds, and a gigabyte to install.
A client only has to write the same bytes, so the messages are described here and built in a
descriptor pool of their own: the default pool must stay free for the real ones, which a process
that also runs a model server loads. Fields that a client neither sets nor reads are left out;
protobuf keeps unknown fields, so nothing is lost.

Numbers and types are those of tensorflow/core/framework/tensor.proto and
tensorflow_serving/apis/{model,predict,get_model_status,status}.proto.
"""

from __future__ import annotations

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

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

# Enumerations travel as int32 varints, so `int32` reads and writes them.
# A type with "*" is repeated; "map:" before it is a map from string; `_ONE_OF` names a oneof.
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "Int64Value": {"value": (1, "int64")},
    "Dim": {"size": (1, "int64"), "name": (2, "string")},
    "TensorShapeProto": {"dim": (2, "Dim*"), "unknown_rank": (3, "bool")},
    "TensorProto": {
        "dtype": (1, "int32"),
        "tensor_shape": (2, "TensorShapeProto"),
        "version_number": (3, "int32"),
        "tensor_content": (4, "bytes"),
        "float_val": (5, "float*"),
        "double_val": (6, "double*"),
        "int_val": (7, "int32*"),
        "string_val": (8, "bytes*"),
        "scomplex_val": (9, "float*"),
        "int64_val": (10, "int64*"),
        "bool_val": (11, "bool*"),
        "dcomplex_val": (12, "double*"),
        "half_val": (13, "int32*"),
        "uint32_val": (16, "uint32*"),
        "uint64_val": (17, "uint64*"),
    },
    "ModelSpec": {
        "name": (1, "string"),
        "version": (2, "Int64Value"),
        "version_label": (4, "string"),
        "signature_name": (3, "string"),
    },
    "PredictRequest": {
        "model_spec": (1, "ModelSpec"),
        "inputs": (2, "map:TensorProto"),
        "output_filter": (3, "string*"),
    },
    "PredictResponse": {"outputs": (1, "map:TensorProto"), "model_spec": (2, "ModelSpec")},
    "StatusProto": {"error_code": (1, "int32"), "error_message": (2, "string")},
    "GetModelStatusRequest": {"model_spec": (1, "ModelSpec")},
    "ModelVersionStatus": {
        "version": (1, "int64"),
        "state": (2, "int32"),
        "status": (3, "StatusProto"),
    },
    "GetModelStatusResponse": {"model_version_status": (1, "ModelVersionStatus*")},
}
_ONE_OF = {"ModelSpec": ("version_choice", ("version", "version_label"))}
_PACKAGE = "vlsearch.wire"


def _set_type(field: descriptor_pb2.FieldDescriptorProto, kind: str) -> None:
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type = _FIELD.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.{kind}"


def _add_map_entry(message: descriptor_pb2.DescriptorProto, name: str, kind: str) -> str:
    entry = message.nested_type.add(name=f"{name.capitalize()}Entry")
    entry.options.map_entry = True
    for number, (part, part_kind) in enumerate((("key", "string"), ("value", kind)), start=1):
        field = entry.field.add(name=part, number=number, label=_FIELD.LABEL_OPTIONAL)
        _set_type(field, part_kind)
    return f".{_PACKAGE}.{message.name}.{entry.name}"


def _file_descriptor() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="vlsearch/wire.proto", package=_PACKAGE, syntax="proto3"
    )
    for message_name, fields in _MESSAGES.items():
        message = file.message_type.add(name=message_name)
        one_of, members = _ONE_OF.get(message_name, ("", ()))
        if one_of:
            message.oneof_decl.add(name=one_of)
        for name, (number, kind) in fields.items():
            repeated = kind.endswith("*") or kind.startswith("map:")
            field = message.field.add(
                name=name,
                number=number,
                label=_FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL,
            )
            if kind.startswith("map:"):
                field.type = _FIELD.TYPE_MESSAGE
                field.type_name = _add_map_entry(message, name, kind.removeprefix("map:"))
            else:
                _set_type(field, kind.removesuffix("*"))
            if name in members:
                field.oneof_index = 0
    return file


_pool = descriptor_pool.DescriptorPool()
_pool.Add(_file_descriptor())


def _message_class(name: str):
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


TensorProto = _message_class("TensorProto")
PredictRequest = _message_class("PredictRequest")
PredictResponse = _message_class("PredictResponse")
GetModelStatusRequest = _message_class("GetModelStatusRequest")
GetModelStatusResponse = _message_class("GetModelStatusResponse")
