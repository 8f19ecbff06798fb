"""SSLConfig: the text proto of `--ssl_config_file`.

Fields as in tensorflow_serving/config/ssl_config.proto, which the tensorflow-serving-api package
does not ship.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from serving.descriptors import build_messages
from serving.model_server.text_proto import read_text_proto

_message_class = build_messages(
    "tensorflow.serving",
    {
        "SSLConfig": {
            "server_key": (1, "string"),
            "server_cert": (2, "string"),
            "custom_ca": (3, "string"),
            "client_verify": (4, "bool"),
        },
    },
)


@dataclass(frozen=True)
class SSLConfig:
    """What a server needs for TLS; keys and certificates are contents in PEM, not paths.

    Attributes:
        server_key: private key.
        server_cert: certificate, with those of the authorities between it and the root.
        custom_ca: root certificates that those of clients are checked with.
        client_verify: whether clients must show a certificate.
    """

    # Never in a log line or a traceback.
    server_key: str = field(repr=False)
    server_cert: str
    custom_ca: str = ""
    client_verify: bool = False


def read_ssl_config(path: str | Path) -> SSLConfig:
    """Parse the text proto SSLConfig in `path`.

    Raises:
        StatusError: no such file, or not in that format.
    """
    config = read_text_proto(path, _message_class("SSLConfig")(), secret=True)
    return SSLConfig(config.server_key, config.server_cert, config.custom_ca, config.client_verify)
