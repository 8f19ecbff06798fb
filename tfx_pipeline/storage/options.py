"""The options of Beam's file systems: endpoint and region; never credentials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vl_models.errors import UserError

_FILE_SYSTEM = ("--s3_", "--gcs_", "--project")
_SECRETS = ("--s3_access_key_id", "--s3_secret_access_key", "--s3_session_token")


def use_file_system_options(beam_args: Sequence[str] | None = None) -> None:
    """Give Beam's file systems in this process the options of a run.

    Arguments such as ``--s3_endpoint_url`` count; what they leave open is read from the
    environment by boto3 and by Google's client (``AWS_ENDPOINT_URL_S3``, ``AWS_PROFILE``,
    ``GOOGLE_APPLICATION_CREDENTIALS``, …).

    Raises:
        UserError: the arguments hold credentials.
    """
    if not beam_args:
        return  # and import nothing: `file_system` knows what to do without
    check_no_secrets(beam_args)
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import PipelineOptions

    FileSystems.set_options(PipelineOptions(list(beam_args)))


def file_system_options(beam_args: Sequence[str] | None) -> list[str]:
    """Those of the arguments that are about file systems, for steps that run no Beam pipeline."""
    return [argument for argument in beam_args or () if argument.startswith(_FILE_SYSTEM)]


def check_no_secrets(beam_args: Sequence[object]) -> None:
    """Raise UserError if arguments hold credentials: they would be kept with the run.

    The message leaves out what was received.
    """
    for argument in beam_args:
        name = str(argument).partition("=")[0]
        if name in _SECRETS:
            raise UserError(
                f"beam_pipeline_args: {name} would be written into the run folder and the metadata "
                "store. Take it out, and give credentials by the environment: AWS_ACCESS_KEY_ID "
                "and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE."
            )


def file_system(uri: str) -> tuple[Any, Any]:
    """Beam's file system for a URI and the options it has in this process."""
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import PipelineOptions

    if FileSystems._pipeline_options is None:  # no pipeline was made here before
        FileSystems.set_options(PipelineOptions([]))
    return FileSystems.get_filesystem(uri), FileSystems._pipeline_options
