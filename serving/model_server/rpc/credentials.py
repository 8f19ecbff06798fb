"""How gRPC is secured: not at all, TLS from an SSLConfig, or ALTS."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc

from serving.errors import invalid
from serving.model_server.options import ServerOptions
from serving.model_server.ssl_config import read_ssl_config


def server_credentials(options: ServerOptions) -> grpc.ServerCredentials | None:
    """Return what to open ports with; None is in the clear.

    Raises:
        StatusError: an SSLConfig that is missing, broken or incomplete.
    """
    if options.use_alts_credentials:
        return grpc.alts_server_credentials()
    path = options.ssl_config_file
    if not path:
        return None
    config = read_ssl_config(path)
    for name in ("server_key", "server_cert"):
        if not getattr(config, name):
            raise invalid(f"The SSLConfig {path} has no {name}.")
    if config.client_verify and not config.custom_ca:
        raise invalid(f"The SSLConfig {path} has client_verify, but no custom_ca to check with.")
    credentials = grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        root_certificates=config.custom_ca.encode() or None,
        require_client_auth=config.client_verify,
    )
    if not _accepted(credentials):
        raise invalid(
            f"The SSLConfig {path} is of no use: server_key, server_cert and custom_ca must be the "
            "contents of PEM files, not their paths, and the key must be that of the certificate."
        )
    return credentials


def _accepted(credentials: grpc.ServerCredentials) -> bool:
    """Whether a port can be opened with them: gRPC looks into them only then."""
    probe = grpc.server(ThreadPoolExecutor(1))
    try:
        probe.add_secure_port("127.0.0.1:0", credentials)
    except RuntimeError:
        return False
    finally:
        probe.stop(None)
    return True
