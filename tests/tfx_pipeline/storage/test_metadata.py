"""MLMD's connection by URL, and against a real PostgreSQL server where one is installed."""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as pb
from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration.pipeline import Pipeline
from tfx.types.standard_artifacts import Model

from tests.serving.waiting import wait_until
from tests.tfx_pipeline.conftest import REPOSITORY
from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.runners.local import _ReportingRunner, _run_artifacts
from tfx_pipeline.storage.metadata import connect, connection_config, pipeline_name
from tfx_pipeline.storage.postgresql import open_store
from vl_models.errors import UserError

EMOJI = REPOSITORY / "configs" / "emoji.yaml"


def test_the_connection_of_a_url():
    assert str(
        connection_config("postgresql://us%40er@db.example:6543/ml%2Dmd?sslmode=require")
    ) == (
        "postgresql {\n"
        '  host: "db.example"\n'
        '  port: "6543"\n'
        '  user: "us@er"\n'
        '  dbname: "ml-md"\n'
        "  skip_db_creation: true\n"
        "  ssloption {\n"
        '    sslmode: "require"\n'
        "  }\n"
        "}\n"
    )
    assert connection_config("postgres://u@h/d").postgresql.port == "5432"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "mysql://u@h/d",
            "names no PostgreSQL database. Write postgresql://USER@HOST:PORT/DATABASE, or leave it "
            "out for SQLite in the output folder. Received: 'mysql://u@h/d'.",
        ),
        (
            "postgresql://h:1/d",
            "names no PostgreSQL database. Write postgresql://USER@HOST:PORT/DATABASE, or leave it "
            "out for SQLite in the output folder. Received: 'postgresql://h:1/d'.",
        ),
        (
            "postgresql://u@h:99999/d",
            "not a URL (Port out of range 0-65535). Write postgresql://USER@HOST:PORT/DATABASE.",
        ),
        (
            "postgresql://u@h/d?sslmod=x",
            "unknown option sslmod. Options of the URL are sslmode, sslcert, sslkey, sslrootcert. "
            "Received: 'postgresql://u@h/d?sslmod=x'.",
        ),
        (
            "postgresql://u:hidden@h/d",
            "the URL holds a password, which would be written into the run folder. Write "
            "postgresql://USER@HOST:PORT/DATABASE without one, and give it by the environment "
            "variable PGPASSWORD or in ~/.pgpass.",
        ),
    ],
    ids=["scheme", "user", "port", "option", "password"],
)
def test_wrong_urls_are_explained_by_the_configuration(url, message):
    with pytest.raises(UserError) as error:
        ExperimentConfig.load(EMOJI, [f"metadata={url}"])
    assert str(error.value) == f"{EMOJI}: metadata: {message}"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hid/den@h/d",
        "postgresql://u:hid@den@h/d",
        "mysql://u:hidden@h/d",
        "postgresql://h/d?user=u&password=hidden",
        "postgresql://u@h/d?sslpassword=hidden",
    ],
)
def test_a_password_in_any_place_is_not_repeated(url):
    with pytest.raises(UserError, match="the URL holds a password") as error:
        ExperimentConfig.load(EMOJI, [f"metadata={url}"])
    assert "hid" not in str(error.value)
    assert "den" not in str(error.value)


def test_folders_that_share_a_server_share_no_name(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    assert pipeline_name("shop", one, shared=False) == "vlsearch-shop"
    names = {pipeline_name("shop", folder, shared=True) for folder in (one, other, one)}
    assert len(names) == 2
    moved = one.rename(tmp_path / "moved")  # mounted elsewhere, it is the same folder
    assert pipeline_name("shop", moved, shared=True) in names


def _binaries() -> Path:
    """The folder of PostgreSQL's programs, or skip."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    for folder in folders:
        if (folder / "initdb").is_file() and (folder / "postgres").is_file():
            return folder
    pytest.skip("no PostgreSQL server: install the Debian package postgresql")


@pytest.fixture(scope="module")
def server():
    """Address of a server that wants a password."""
    programs = _binaries()
    # The server refuses to run as root.
    user = "nobody" if os.geteuid() == 0 else getpass.getuser()
    with tempfile.TemporaryDirectory(prefix="vlsearch-") as folder, socket.socket() as free:
        shutil.chown(folder, user)
        password = Path(folder, "password")
        password.write_text("a password of the tests")
        shutil.chown(password, user)
        data = str(Path(folder, "data"))
        options = ("-U", "owner", "-N", "-A", "scram-sha-256", f"--pwfile={password}")
        subprocess.run(
            [programs / "initdb", "-D", data, *options],
            user=user,
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        options = ("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=")
        with Path(folder, "log").open("wb") as log:
            process = subprocess.Popen(
                [programs / "postgres", "-D", data, "-p", str(port), *options],
                user=user,
                cwd=folder,
                stderr=log,
            )
        try:
            wait_until(lambda: b"ready to accept" in Path(folder, "log").read_bytes(), 60)
            yield f"127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(60)


@pytest.fixture
def password(monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "a password of the tests")


def test_properties_survive_a_real_server(server, password):
    connection = connect(f"postgresql://owner@{server}/made")  # not there before
    assert connection.postgresql.skip_db_creation
    store = open_store(connection)
    kind = store.put_artifact_type(pb.ArtifactType(name="T", properties={"text": pb.STRING}))
    # What JSON looks like, and what SQL could take for something else.
    texts = ['{"a": "b\\n\\"c\\" \\u5929"}', "\\", "it's", "\\'; drop table artifact; --", "猫"]
    for text in texts:
        artifact = pb.Artifact(type_id=kind, uri=f"/data/{text}")
        artifact.properties["text"].string_value = text
        artifact.custom_properties["custom"].string_value = text
        store.put_artifacts([artifact])

    found = open_store(connect(f"postgresql://owner@{server}/made")).get_artifacts()
    found.sort(key=lambda artifact: artifact.id)

    assert [a.properties["text"].string_value for a in found] == texts
    assert [a.custom_properties["custom"].string_value for a in found] == texts
    assert [a.uri for a in found] == [f"/data/{text}" for text in texts]
    assert store.get_artifacts_by_uri("/data/\\")[0].id == found[1].id


def test_a_wrong_password_is_a_wrong_input(server, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "wrong")
    url = f"postgresql://owner@{server}/first"
    with pytest.raises(UserError) as error:
        connect(url)
    assert str(error.value) == (
        f"metadata: {url} cannot be used (PostgreSQL metadata source error: connection pointer is "
        "NULL). Is the server running, does the user exist, is the password in PGPASSWORD or "
        "~/.pgpass right, and does the database exist (createdb), or may the user make it? The "
        "server's own answer is in the run's log."
    )


def test_rows_come_in_the_order_of_the_request(server, password):
    store = open_store(connect(f"postgresql://owner@{server}/sorting"))
    kind = store.put_artifact_type(pb.ArtifactType(name="T"))
    ids = store.put_artifacts([pb.Artifact(type_id=kind, uri=f"/{i}") for i in range(5)])
    [first] = store.get_artifacts_by_id(ids[:1])
    first.state = pb.Artifact.LIVE
    store.put_artifacts([first])  # PostgreSQL moves what is changed
    for order in (ids, ids[::-1]):
        assert [artifact.id for artifact in store.get_artifacts_by_id(order)] == order
    types = [store.put_execution_type(pb.ExecutionType(name=f"E{i}")) for i in range(3)]
    found = store.get_execution_types_by_id(types[::-1])
    assert [execution_type.id for execution_type in found] == types[::-1]


@component
def Note(text: Parameter[str], note: OutputArtifact[Model]):
    """A step with a parameter that looks like the ones of Trainer and Transform."""
    Path(note.uri).mkdir(parents=True, exist_ok=True)
    Path(note.uri, "note").write_text(text)
    note.set_string_custom_property("text", text)


def test_steps_are_taken_from_the_cache_of_a_server(server, password, tmp_path):
    connection = connect(f"postgresql://owner@{server}/runs")
    text = '{"experiment": "name: shop\\ntemplates: [\\u4e00\\u5f20{}]\\n"}'
    reports = []
    for _ in range(2):
        pipeline = Pipeline(
            pipeline_name=pipeline_name("shop", tmp_path, shared=True),
            pipeline_root=str(tmp_path),
            components=[Note(text=text)],
            enable_cache=True,
            metadata_connection_config=connection,
        )
        runner = _ReportingRunner(connection, (), reports.append)
        runner.run(pipeline)
        artifact = _run_artifacts(open_store(connection), runner.run_id)["Model"]
        assert artifact.custom_properties["text"].string_value == text
        assert Path(artifact.uri, "note").read_text() == text
    assert [report.cached for report in reports if report.seconds is not None] == [False, True]


def test_no_server_is_a_wrong_input(password):
    with pytest.raises(UserError, match=r"^metadata: postgresql://u@127.0.0.1:1/d cannot be used"):
        connect("postgresql://u@127.0.0.1:1/d")
