"""What a data folder came down to: settled at submission, or else in the first step."""

from __future__ import annotations

import dataclasses

from pydantic import BaseModel, ConfigDict

from tfx_pipeline.data.config import ExampleGenConfig
from tfx_pipeline.data.folder import DataFolder
from tfx_pipeline.data.options import DataConfig


class ResolvedData(BaseModel):
    """The input of ClickExampleGen.

    Attributes:
        folder: the data folder, as it was given.
        config: how Examples are made of it.
        files: log files, paths or URIs.
        fingerprint: of log and images.
        spans: of the log; empty if it has none.
        log_fingerprint: of the log without images.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: str
    config: ExampleGenConfig
    files: tuple[str, ...]
    fingerprint: str
    spans: tuple[int, ...]
    log_fingerprint: str = ""

    @classmethod
    def of(cls, folder: str, options: DataConfig) -> ResolvedData:
        """Look at a data folder.

        Raises:
            UserError: the folder cannot be read, or nothing in it matches.
        """
        found = DataFolder.load(folder)
        files = found.resolve(options.span_window)
        return cls(
            folder=folder,
            config=options.example_config(found),
            **dataclasses.asdict(files),
        )


def settle(folder: str, options: str, resolved: str) -> ResolvedData:
    """Return the input of a run: what was resolved at submission, if that was this folder.

    Args:
        folder: the data folder.
        options: `DataConfig` as JSON.
        resolved: `ResolvedData` as JSON; anything else if the submitter could not see the folder
            (the time then, lest the result for yesterday's data be taken for today's).

    Raises:
        UserError: the folder cannot be read, or nothing in it matches.
    """
    if resolved.startswith("{"):
        found = ResolvedData.model_validate_json(resolved)
        if found.folder == folder:
            return found
    return ResolvedData.of(folder, DataConfig.model_validate_json(options))


def unseen(submitted: str) -> str:
    """Return what stands for `ResolvedData` where the submitter could not see the folder."""
    return f"not seen at submission, {submitted}"
