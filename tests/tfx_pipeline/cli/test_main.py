"""The command line as people meet it: real processes, exit codes, texts."""

import re
import subprocess
import sys

import pytest
import yaml

from tests.tfx_pipeline.conftest import REPOSITORY, VLSEARCH, vlsearch, vlsearch_anew

HEAVY = ("tensorflow", "tfx", "apache_beam", "keras", "faiss", "numpy", "pyarrow", "pydantic")


def run_and_list_imports(*arguments):
    """What `vlsearch` prints, and after it what of `HEAVY` it imported."""
    code = (
        "import sys\nfrom tfx_pipeline.cli import main\n"
        f"sys.argv = ['vlsearch', *{arguments}]\n"
        "try:\n    main.main()\nexcept SystemExit:\n    pass\n"
        f"print('loaded:', [name for name in {HEAVY} if name in sys.modules])"
    )
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True
    )


def test_help_names_every_command_and_imports_nothing_heavy():
    result = run_and_list_imports("--help")
    commands = ["data", "run", "train", "evaluate", "compare", "tune", "serve", "query", "rollback"]
    commands += ["config", "weights", "serving"]
    for command in (*commands, "version"):
        assert f" {command} " in result.stdout
    assert "loaded: []" in result.stdout


def commands(command, path=()):
    """All commands below one, with the words that call them."""
    yield path, command
    for name, one in getattr(command, "commands", {}).items():
        yield from commands(one, (*path, name))


def test_help_shows_every_text_as_it_is():
    from typer.main import get_command
    from typer.testing import CliRunner

    from tfx_pipeline.cli.main import app

    def words(text):
        return "".join(text.split())

    for path, command in commands(get_command(app)):
        result = CliRunner().invoke(app, [*path, "--help"])
        assert result.exit_code == 0, path
        for parameter in command.params:
            assert words(parameter.help or "") in words(result.stdout), path


@pytest.mark.parametrize("columns", ["0", "1", "7"])
def test_help_has_place(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    done = subprocess.run([VLSEARCH, "--help"], capture_output=True, text=True, check=True)
    assert " rollback " in done.stdout


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("none.yaml", "none.yaml: no such configuration file. Experiments are in configs/"),
        ("configs", "configs: cannot be read as a YAML file: [Errno 21] Is a directory: 'configs'"),
        ("Makefile", "Makefile: not valid YAML: "),
    ],
)
def test_an_experiment_that_is_none_is_said_before_anything_heavy_is_imported(file, message):
    result = run_and_list_imports("run", "--config", file)
    assert result.stderr.startswith(f"Error: {message}")
    assert result.stdout in ("loaded: []\n", "loaded: ['pydantic']\n")  # Typer uses it


def test_version_names_the_libraries_that_matter():
    lines = vlsearch_anew("version").stdout.splitlines()
    assert [line.split()[0] for line in lines] == [
        "vlsearch",
        "tensorflow",
        "keras",
        "tfx",
        "apache-beam",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serve", "/nowhere"], "/nowhere is not a release root: it has no release.json."),
        (
            ["query", "cake", "--release", "/nowhere"],
            "/nowhere is not a release root: it has no release.json.",
        ),
        (["query", "  ", "--release", "/nowhere"], "The query is empty; say what to look for."),
        (
            ["query", "cake", "--release", "/nowhere", "--html", "/nowhere/sheet.html"],
            "--html names a file in an existing folder. Received: /nowhere/sheet.html.",
        ),
        (["rollback", "/nowhere"], "/nowhere is not a release root: it has no release.json."),
        (
            ["run", "--config", "configs/emoji.yaml", "--set", "train.stepz=1"],
            # After TensorFlow and TFX were imported, whose messages are not to be seen.
            "Unknown key 'train.stepz'; did you mean 'train.steps'?",
        ),
    ],
)
def test_wrong_input_is_one_paragraph_and_exit_code_2(arguments, message, tmp_path):
    assert_refused(arguments, message, tmp_path, vlsearch_anew)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["run", "--config", "configs/emoji.yaml", "--data", "/nowhere"],
            "/nowhere/data.yaml: no such file.",
        ),
        (
            ["run", "--config", "configs/emoji.yaml", "--beam", "configs/emoji.yaml"],
            "configs/emoji.yaml: a file of Beam options is a list of flags",
        ),
        (["evaluate", "--run", "/nowhere"], "/nowhere is not the folder of a finished training"),
    ],
)
def test_so_is_what_is_found_out_later(arguments, message, tmp_path):
    assert_refused(arguments, message, tmp_path, vlsearch)


def assert_refused(arguments, message, tmp_path, command):
    if arguments[0] == "run":
        arguments = [*arguments, "--output", str(tmp_path)]
    result = command(*arguments, check=False)
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.stderr + result.stdout


def test_a_missing_option_is_exit_code_2():
    result = vlsearch_anew("run", check=False)
    assert result.returncode == 2
    assert "--config" in result.stderr


def test_a_query_that_is_not_utf8_is_wrong_input():
    command = [VLSEARCH.encode(), b"query", b"\xff\xfe", b"--release", b"/nowhere"]
    result = subprocess.run(command, capture_output=True, cwd=REPOSITORY, check=False)
    assert result.returncode == 2
    assert b"The query is not valid UTF-8." in result.stderr


def test_debug_shows_where_an_error_comes_from():
    result = vlsearch_anew("--debug", "serve", "/nowhere", check=False)
    assert "Traceback" in result.stderr
    assert "/nowhere is not a release root" in result.stderr


def test_a_wrong_key_is_said_before_anything_slow_is_imported():
    where = ("train", "--config", "configs/unicl.yaml", "--run", "build/none")
    result = run_and_list_imports(*where, "--set", "train.stepz=1")
    assert "Unknown key 'train.stepz'; did you mean 'train.steps'?" in result.stderr
    result_of_folder = run_and_list_imports(*where, "--set", "data.folder=/none")
    assert "/none/data.yaml: no such file" in result_of_folder.stderr
    for one in (result, result_of_folder):
        *_, loaded = one.stdout.splitlines()
        assert not {"tensorflow", "keras", "tfx", "apache_beam"} & set(re.findall(r"\w+", loaded))


def test_config_prints_the_whole_experiment():
    result = run_and_list_imports("config", "configs/align.yaml", "--set", "train.steps=3")
    whole = yaml.safe_load(result.stdout.partition("loaded:")[0])
    # Its own, its base's, the override's, and a default.
    assert whole["model"]["project_image"] is False
    assert whole["model"]["embedding_dim"] == 128
    assert whole["train"]["steps"] == 3
    assert whole["input"]["views"] == 1
