"""Is every Beam argument one that Beam knows? Beam itself drops what it does not know."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Mapping, Sequence

from vl_models.errors import UserError

# What the Java job servers of Flink and Spark take beyond the options of the Python SDK. A job
# server tells its options only once a job is submitted, too late for a spelling mistake.
# Sources: FlinkPipelineOptions and SparkCommonPipelineOptions of Beam's Java documentation.
_OF_FLINK = (
    "allow_non_restored_state",
    "attached_mode",
    "auto_balance_write_files_sharding_enabled",
    "auto_watermark_interval",
    "checkpoint_timeout_millis",
    "checkpointing_interval",
    "checkpointing_mode",
    "disable_metrics",
    "enable_stable_input_drain",
    "execution_mode_for_batch",
    "execution_retry_delay",
    "externalized_checkpoints_enabled",
    "fail_on_checkpointing_errors",
    "faster_copy",
    "files_to_stage",
    "finish_bundle_before_checkpointing",
    "flink_conf_dir",
    "force_unaligned_checkpoint_enabled",
    "job_check_interval_in_secs",
    "latency_tracking_interval",
    "max_bundle_size",
    "max_bundle_time_mills",
    "min_pause_between_checkpoints",
    "num_concurrent_checkpoints",
    "number_of_execution_retries",
    "object_reuse",
    "operator_chaining",
    "re_iterable_group_by_key_result",
    "report_checkpoint_duration",
    "retain_externalized_checkpoints_on_cancellation",
    "savepoint_path",
    "shutdown_sources_after_idle_ms",
    "state_backend",
    "state_backend_storage_path",
    "unaligned_checkpoints_enabled",
)
_OF_SPARK = (
    "bundle_size",
    "cache_disabled",
    "checkpoint_dir",
    "enable_spark_metric_sinks",
    "files_to_stage",
    "prefer_group_by_key_to_handle_huge_values",
    "spark_master",
    "storage_level",
    "uses_provided_spark_context",
)
_OF_JOB_SERVER = {
    "FlinkRunner": _OF_FLINK,
    "SparkRunner": _OF_SPARK,
    "PortableRunner": tuple(dict.fromkeys((*_OF_FLINK, *_OF_SPARK))),
}
_ENVIRONMENT_TYPES = ("DOCKER", "EXTERNAL", "LOOPBACK", "PROCESS")


def runner_of(arguments: Sequence[str]) -> str | None:
    """Return the runner that arguments name, as they name it; None if they name none."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--runner", nargs="?")  # without a value: for the check to complain of
    return parser.parse_known_args(list(arguments))[0].runner


def check_beam_args(sources: Mapping[str, Sequence[str]]) -> None:
    """Check arguments as one command line.

    Args:
        sources: where arguments come from → the arguments, in the order in which they count.

    Raises:
        UserError: names the source, what is wrong, and the nearest valid option.
    """
    from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions
    from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
    from apache_beam.runners.runner import create_runner

    together = [argument for arguments in sources.values() for argument in arguments]
    where = " and ".join(source for source, arguments in sources.items() if arguments)
    runner = None
    if name := runner_of(together):
        try:
            runner = create_runner(name)
        except (ValueError, ImportError, AttributeError) as error:
            raise UserError(f"{where}: --runner={name}: {error}") from None
    parser = _parser(type(runner).__name__)
    for source, arguments in sources.items():
        _check_known(parser, source, arguments)
    options = PipelineOptions(together)
    kind = options.view_as(PortableOptions).environment_type
    if kind and kind not in _ENVIRONMENT_TYPES and not kind.startswith("beam:env:"):
        raise UserError(
            f"{where}: --environment_type is one of {', '.join(_ENVIRONMENT_TYPES)}. "
            f"Received: {kind!r}."
        )
    if type(runner).__name__ == "DataflowRunner":
        return  # Beam's validation of these asks Google Cloud; it is done when a pipeline starts
    errors = PipelineOptionsValidator(options, runner).validate()
    if errors:
        raise UserError(f"{where}: {'; '.join(error.rstrip('.') for error in errors)}.")


def _parser(runner: str) -> argparse.ArgumentParser:
    """All options: Beam's own, and those of the job server behind a runner."""
    from apache_beam.options.pipeline_options import PipelineOptions

    parsers: list[argparse.ArgumentParser] = []
    PipelineOptions([]).get_all_options(add_extra_args_fn=parsers.append)
    [parser] = parsers
    # argparse has no public list of a parser's options.
    for name in _OF_JOB_SERVER.get(runner, ()):
        if f"--{name}" not in parser._option_string_actions:
            parser.add_argument(f"--{name}", nargs="?")
    for name in ("-h", "--help"):  # would print and end the process
        del parser._option_string_actions[name]
    parser.exit_on_error = False
    return parser


def _check_known(parser: argparse.ArgumentParser, source: str, arguments: Sequence[str]) -> None:
    try:
        _, unknown = parser.parse_known_args(list(arguments))
    except argparse.ArgumentError as error:
        raise UserError(f"{source}: {error}.") from None
    if unknown:
        name = unknown[0].partition("=")[0]
        [nearest] = difflib.get_close_matches(name, list(parser._option_string_actions), 1, 0.0)
        raise UserError(
            f"{source}: Beam has no option {name!r} for this runner, and would ignore it. "
            f"Nearest: {nearest!r}. Received: {unknown[0]!r}."
        )
