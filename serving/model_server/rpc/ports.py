"""Where gRPC listens: a TCP port, a UNIX socket, or both."""

from __future__ import annotations

import errno
import logging
import socket
import stat
from pathlib import Path
from typing import Any

import grpc

from serving.errors import ServingError
from serving.model_server.addresses import host_port
from serving.model_server.options import ServerOptions

_logger = logging.getLogger(__name__)


def add_ports(
    server: Any, options: ServerOptions, credentials: grpc.ServerCredentials | None
) -> int | None:
    """Binds a gRPC server that is not started; returns its TCP port, None if it has none.

    Raises:
        ServingError: an address that cannot be bound.
    """
    port = None
    if options.port != 0:
        port = _add(server, host_port(options.host, options.port or 0), credentials)
    if options.grpc_socket_path:
        check_socket_path(options.grpc_socket_path)
        _add(server, f"unix:{options.grpc_socket_path}", credentials)
    return port


def check_socket_path(path: str) -> None:
    """Make sure that a UNIX socket can be bound there; log it if a server listens there.

    gRPC replaces the file whatever it is: as with TensorFlow Serving, the newest server has the
    path, until one that had it before ends and removes the file.

    Raises:
        ServingError: the file is no socket, or there is no folder.
    """
    if not Path(path).parent.is_dir():
        raise ServingError(
            f"The UNIX socket {path} cannot be opened: no folder {Path(path).parent}. Create it, "
            "or choose another grpc_socket_path."
        )
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ServingError(
            f"The UNIX socket {path} cannot be opened: a file of that name is no socket. Choose "
            "another grpc_socket_path."
        )
    with socket.socket(socket.AF_UNIX) as probe:
        error = probe.connect_ex(path)
    if error not in (errno.ECONNREFUSED, errno.ENOENT):
        _logger.warning(
            "Another process listens at the UNIX socket %s. New connections come to this server "
            "from now on; the file is gone when the other one ends.",
            path,
        )


def _add(server: Any, address: str, credentials: grpc.ServerCredentials | None) -> int:
    try:
        if credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise ServingError(f"gRPC cannot listen on {address}: {error}.") from error
