"""Beam arguments: where they come from, and that none is dropped silently."""

from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.runners.runner import create_runner
from tfx.utils.dependency_utils import make_beam_dependency_flags

from tfx_pipeline.data.beam_options import (
    ENVIRONMENT,
    default_beam_args,
    load_option_set,
    resolve_beam_args,
)
from vl_models.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[3]
OPTION_SETS = ("direct", "flink", "spark", "dataflow")
RUNNERS = dict(
    zip(OPTION_SETS, ("FnApiRunner", "FlinkRunner", "SparkRunner", "DataflowRunner"), strict=True)
)


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch):
    monkeypatch.delenv(ENVIRONMENT, raising=False)


def test_every_option_set_is_tested():
    files = (REPOSITORY / "configs" / "beam").iterdir()
    assert sorted(path.name for path in files) == sorted(f"{name}.yaml" for name in OPTION_SETS)


@pytest.mark.parametrize("name", OPTION_SETS)
def test_option_sets_hold_what_beam_knows_and_takes(name):
    given = load_option_set(REPOSITORY / "configs" / "beam" / f"{name}.yaml")
    arguments = resolve_beam_args(given)
    assert arguments == [*given, "--beam_plugins=tfx_pipeline"]
    options = PipelineOptions(arguments).get_all_options(drop_default=True)
    assert type(create_runner(options.pop("runner"))).__name__ == RUNNERS[name]
    # Beam's own parser keeps every one of them, under one name each.
    assert len(options) == len({flag.partition("=")[0] for flag in given})


@pytest.mark.parametrize("name", OPTION_SETS)
def test_tfx_builds_no_package_of_itself(name):
    arguments = load_option_set(REPOSITORY / "configs" / "beam" / f"{name}.yaml")
    assert make_beam_dependency_flags(list(arguments)) == arguments
    assert make_beam_dependency_flags(default_beam_args()) == default_beam_args()


def test_nothing_given_is_one_process():
    assert resolve_beam_args(None) == resolve_beam_args([]) == default_beam_args()


def test_the_environment_wins_option_by_option(monkeypatch):
    monkeypatch.setenv(ENVIRONMENT, "--direct_num_workers=3 --job_name='a b'")
    arguments = resolve_beam_args(["--direct_num_workers=2", "--direct_running_mode=in_memory"])
    assert arguments[: len(default_beam_args())] == default_beam_args()  # for want of a runner
    options = PipelineOptions(arguments).view_as(DirectOptions)
    assert (options.direct_num_workers, options.direct_running_mode) == (3, "in_memory")
    assert arguments[-1] == "--job_name=a b"


def test_with_a_runner_there_are_no_default_arguments(monkeypatch):
    monkeypatch.setenv(ENVIRONMENT, "--runner=FlinkRunner")
    assert resolve_beam_args(["--parallelism=4"]) == [
        "--parallelism=4",
        "--runner=FlinkRunner",
        "--beam_plugins=tfx_pipeline",
    ]


def test_options_of_the_job_server_are_known():
    given = ["--runner=FlinkRunner", "--object_reuse", "--max_bundle_size", "100"]
    assert resolve_beam_args(given)[:-1] == given


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            ["--runner=FlinkRunner", "--paralelism=4"],
            "beam_pipeline_args: Beam has no option '--paralelism' for this runner, and would "
            "ignore it. Nearest: '--parallelism'. Received: '--paralelism=4'.",
        ),
        (
            ["direct_num_workers=4"],
            "beam_pipeline_args: Beam has no option 'direct_num_workers' for this runner, and "
            "would ignore it. Nearest: '--direct_num_workers'. Received: 'direct_num_workers=4'.",
        ),
        (
            ["--runner=SparkRunner", "--max_bundle_sizes=4"],
            "beam_pipeline_args: Beam has no option '--max_bundle_sizes' for this runner, and "
            "would ignore it. Nearest: '--bundle_size'. Received: '--max_bundle_sizes=4'.",
        ),
        (
            ["--help"],
            "beam_pipeline_args: Beam has no option '--help' for this runner, and would ignore "
            "it. Nearest: '--label'. Received: '--help'.",
        ),
        (
            ["--direct_num_workers=many"],
            "beam_pipeline_args: argument --direct_num_workers: invalid int value: 'many'.",
        ),
        (["--runner"], "beam_pipeline_args: argument --runner: expected one argument."),
        (
            ["--runner=PortableRunner", "--environment_type=EXTERNA"],
            "beam_pipeline_args: --environment_type is one of DOCKER, EXTERNAL, LOOPBACK, "
            "PROCESS. Received: 'EXTERNA'.",
        ),
        (
            ["--runner=PortableRunner", "--environment_type=EXTERNAL"],
            "beam_pipeline_args: Option external_service_address is required for environment "
            "type EXTERNAL.",
        ),
    ],
)
def test_wrong_arguments_are_named(given, message):
    with pytest.raises(UserError) as error:
        resolve_beam_args(given)
    assert str(error.value) == message


def test_an_unknown_runner_is_named_with_those_that_there_are():
    with pytest.raises(UserError, match=r"^beam_pipeline_args: --runner=FlinkRuner: .*FlinkRunner"):
        resolve_beam_args(["--runner=FlinkRuner"])


def test_wrong_arguments_of_the_environment_are_named(monkeypatch):
    monkeypatch.setenv(ENVIRONMENT, "--job_endpiont=flink:8099")
    with pytest.raises(UserError, match=rf"^{ENVIRONMENT}: Beam has no option '--job_endpiont'"):
        resolve_beam_args(["--runner=FlinkRunner"])
    monkeypatch.setenv(ENVIRONMENT, "--runner='FlinkRunner")
    with pytest.raises(UserError) as error:
        resolve_beam_args(None)
    assert str(error.value) == (
        f"{ENVIRONMENT}: No closing quotation; arguments are quoted as in a shell. "
        'Received: "--runner=\'FlinkRunner".'
    )


@pytest.mark.parametrize(
    ("content", "received"),
    [("runner: FlinkRunner", "'dict'"), ("- runner: FlinkRunner", "{'runner': 'FlinkRunner'}")],
)
def test_a_file_that_is_no_list_of_flags_is_refused(tmp_path, content, received):
    path = tmp_path / "beam.yaml"
    path.write_text(content)
    with pytest.raises(UserError) as error:
        load_option_set(path)
    assert str(error.value) == (
        f"{path}: a file of Beam options is a list of flags, such as '- --runner=FlinkRunner'; "
        f"one that holds ': ' or ' #' needs quotes. Received: {received}."
    )


def test_a_missing_file_is_refused():
    with pytest.raises(UserError) as error:
        load_option_set("nowhere.yaml")
    assert str(error.value) == (
        "nowhere.yaml: no such file of Beam options. Examples are in configs/beam/."
    )
