"""Methods of services as gRPC's Python server takes them, without what it does badly.

grpcio 1.85 never frees what it keeps of a call whose request cannot be parsed, some 20 KB. So
parsing never fails here, and the handler refuses what it was given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from serving.model_server.threads import HandlerPool

_MALFORMED = object()
# Method, message it takes, message it returns, threads that run it.
Methods = Mapping[str, tuple[Callable[..., Any], Any, Any, HandlerPool]]


def unary_handlers(methods: Methods) -> dict[str, grpc.RpcMethodHandler]:
    """Return the handlers of methods that take one message and return one, by name."""
    return {
        name: grpc.unary_unary_rpc_method_handler(
            handler(method, pool), parser(request), response.SerializeToString
        )
        for name, (method, request, response, pool) in methods.items()
    }


def add_service(server: grpc.Server, name: str, methods: Methods) -> None:
    """Add a service of unary methods, as the generated `add_..._to_server` do."""
    handlers = unary_handlers(methods)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
    server.add_registered_method_handlers(name, handlers)


def handler(method: Callable[..., Any], pool: HandlerPool) -> Callable[..., Any]:
    """Return a function that gRPC runs in `pool`, and that refuses what `parser` could not read."""

    def handle(request: Any, context: grpc.ServicerContext, *send: Any) -> Any:
        if request is _MALFORMED:
            # The words of the library.
            context.abort(grpc.StatusCode.INTERNAL, "Exception deserializing request!")
        return method(request, context, *send)

    # Read by grpc._server._select_thread_pool_for_behavior.
    handle.experimental_thread_pool = pool  # type: ignore[attr-defined]
    return handle


def parser(message: Any) -> Callable[[bytes], Any]:
    """Return what reads messages of a class, for a method that `handler` made."""
    from_string = message.FromString

    def parse(data: bytes) -> Any:
        try:
            return from_string(data)
        except DecodeError:
            return _MALFORMED

    return parse
