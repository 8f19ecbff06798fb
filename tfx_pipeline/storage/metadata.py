"""TFX's metadata store (MLMD): SQLite in the output folder, or a PostgreSQL server by its URL."""

from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from serving.files import write_atomically
from vl_models.errors import UserError

if TYPE_CHECKING:
    from ml_metadata.proto import metadata_store_pb2

_SCHEMES = ("postgresql", "postgres")
_FORM = "postgresql://USER@HOST:PORT/DATABASE"
_SSL_OPTIONS = ("sslmode", "sslcert", "sslkey", "sslrootcert")
_PORT = 5432
_ID_FILE = "metadata.id"


def check_metadata_url(url: str, where: str = "metadata") -> str:
    """Return the URL, if it is of a PostgreSQL database and holds no password.

    Args:
        url: `postgresql://USER@HOST:PORT/DATABASE`; options such as `?sslmode=require` may follow.
        where: what to call it in the error.

    Raises:
        UserError: it is not; a password in it is not repeated.
    """
    # As people write it; a password with a slash is none for `urlsplit`.
    login, at, _ = url.partition("://")[2].rpartition("@")
    secret = (at and ":" in login) or re.search("pass", url.partition("?")[2], re.IGNORECASE)
    if secret:
        raise UserError(
            f"{where}: the URL holds a password, which would be written into the run folder. Write "
            f"{_FORM} without one, and give it by the environment variable PGPASSWORD or in "
            "~/.pgpass."
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UserError(f"{where}: not a URL ({error}). Write {_FORM}.") from None
    database = unquote(parts.path.removeprefix("/"))
    complete = parts.username and parts.hostname and database and "/" not in database
    if parts.scheme not in _SCHEMES or not complete or port == 0:
        raise UserError(
            f"{where}: names no PostgreSQL database. Write {_FORM}, or leave it out for SQLite in "
            f"the output folder. Received: {url!r}."
        )
    unknown = [name for name, _ in _options(parts) if name not in _SSL_OPTIONS]
    if unknown:
        raise UserError(
            f"{where}: unknown option {', '.join(unknown)}. Options of the URL are "
            f"{', '.join(_SSL_OPTIONS)}. Received: {url!r}."
        )
    return url


def connection_config(url: str) -> metadata_store_pb2.ConnectionConfig:
    """How MLMD connects to the database of a URL, which must exist.

    No password: libpq, below MLMD, takes it from PGPASSWORD or ~/.pgpass. TFX writes this message
    into its log and into the compiled pipeline.
    """
    from ml_metadata.proto import metadata_store_pb2

    parts = urlsplit(check_metadata_url(url))
    config = metadata_store_pb2.ConnectionConfig()
    database = config.postgresql
    database.host = parts.hostname
    database.port = str(parts.port or _PORT)
    database.user = unquote(parts.username or "")
    database.dbname = unquote(parts.path.removeprefix("/"))
    database.skip_db_creation = True
    for name, value in _options(parts):
        setattr(database.ssloption, name, value)
    return config


def connect(url: str) -> metadata_store_pb2.ConnectionConfig:
    """The configuration of a database that answers; made if it is not there and the user may.

    Raises:
        UserError: it cannot be reached.
    """
    config = connection_config(url)
    if _answers(config) is None:
        return config
    # Making a database needs the right to connect to the one called postgres: few have it.
    config.postgresql.skip_db_creation = False
    error = _answers(config)
    if error is not None:
        raise UserError(
            f"metadata: {url} cannot be used ({error}). Is the server running, does the user "
            "exist, is the password in PGPASSWORD or ~/.pgpass right, and does the database exist "
            "(createdb), or may the user make it? The server's own answer is in the run's log."
        )
    config.postgresql.skip_db_creation = True
    return config


def pipeline_name(experiment: str, pipeline_root: Path, shared: bool) -> str:
    """What the pipeline is called in the metadata store; steps are reused among runs of a name.

    In a shared store two output folders must not share a name: one would take the other's files
    for its own. An id in the folder tells them apart, on whatever machine it is mounted.
    """
    name = f"vlsearch-{experiment}"
    if not shared:
        return name
    file = pipeline_root / _ID_FILE
    if not file.is_file():
        write_atomically(file, uuid.uuid4().hex[:12])
    return f"{name}-{file.read_text(encoding='utf-8')}"


def _options(parts: SplitResult) -> list[tuple[str, str]]:
    return parse_qsl(parts.query, keep_blank_values=True)


def _answers(config: Any) -> str | None:
    """None if a store can be opened, else why not."""
    import ml_metadata
    from ml_metadata.metadata_store import MetadataStore

    try:
        MetadataStore(config)
    except (RuntimeError, ml_metadata.errors.StatusError) as error:
        return " ".join(str(error).split()).rstrip(". :")
    return None
