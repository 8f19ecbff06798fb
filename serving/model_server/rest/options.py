"""How the REST interface is served, and the files that say so."""

from __future__ import annotations

import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path

from serving.errors import invalid
from serving.model_server.authentication import CallerSecret
from serving.model_server.monitoring.config import MonitoringConfig
from serving.model_server.options import ServerOptions
from serving.model_server.ssl_config import SSLConfig, read_ssl_config


@dataclass(frozen=True)
class RestOptions:
    """What RestServer takes.

    Attributes:
        flags: those of the server.
        monitoring: whether and where metrics are served.
        tls: None is plain HTTP.
        secret: that callers must send; None is none.
    """

    flags: ServerOptions
    monitoring: MonitoringConfig
    tls: ssl.SSLContext | None
    secret: CallerSecret | None


def read_rest_options(flags: ServerOptions) -> RestOptions:
    """Return the server's options, with the files read that REST needs.

    Raises:
        StatusError: a file that is missing or broken.
        ServingError: no secrets in the file of secrets.
    """
    tls, secret = flags.rest_ssl_config_file, flags.caller_secret_file
    return RestOptions(
        flags,
        monitoring=flags.monitoring_config(),
        tls=tls_context(read_ssl_config(tls), tls) if tls else None,
        secret=CallerSecret.load(secret) if secret else None,
    )


def tls_context(config: SSLConfig, source: str) -> ssl.SSLContext:
    """TLS with the keys of `config`, which was read from `source`.

    Raises:
        StatusError: INVALID_ARGUMENT, keys and certificates that cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # The ssl module reads keys from files alone; only this user can open the folder.
        with tempfile.TemporaryDirectory() as folder:
            key, certificate = Path(folder) / "key.pem", Path(folder) / "certificate.pem"
            key.write_text(config.server_key)
            certificate.write_text(config.server_cert)
            context.load_cert_chain(certificate, key)
        if config.custom_ca:
            context.load_verify_locations(cadata=config.custom_ca)
    except (ssl.SSLError, ValueError) as error:
        raise invalid(f"Keys or certificates in {source} cannot be used: {error}") from error
    if config.client_verify:
        context.verify_mode = ssl.CERT_REQUIRED
    return context
