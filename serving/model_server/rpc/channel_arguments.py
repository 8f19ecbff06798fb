"""`--grpc_channel_arguments`: settings of the gRPC library, by name."""

from __future__ import annotations

from serving.errors import invalid

_INT32 = range(-(2**31), 2**31)


def parse_channel_arguments(text: str) -> dict[str, int | str]:
    """Read `name=value,name=value`; a value that can be a 32-bit integer is one.

    Raises:
        StatusError: a part without a name or without "=".
    """
    arguments: dict[str, int | str] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not name or not equals:
            raise invalid(
                f"server_options.grpc_channel_arguments must be name=value pairs; got {part}",
            )
        arguments[name] = _value(value)
    return arguments


def _value(text: str) -> int | str:
    try:
        number = int(text)
    except ValueError:
        return text
    return number if number in _INT32 else text
