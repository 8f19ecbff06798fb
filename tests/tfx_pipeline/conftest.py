"""One tiny trained pipeline per session, made by the command line as a user would."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
VLSEARCH = str(Path(sys.executable).with_name("vlsearch"))

# The demo's configuration, made small.
TINY = (
    "data.shorter_side=40",
    "vocabulary.size=400",
    "model.image_size=32",
    "model.embedding_dim=32",
    "model.image.widths=[8,16]",
    "model.image.blocks=[1,1]",
    "model.text.width=32",
    "train.steps=40",
    "train.checkpoint_every=10",
    "train.hooks=[{name: validation, every: 10}]",
)


@dataclasses.dataclass(frozen=True)
class TinyRun:
    """Where the tiny pipeline's input and output are, and how to run it."""

    data: Path
    output: Path

    @property
    def serving(self) -> Path:
        return self.output / "serving"

    def command(self, data: Path | None = None, output: Path | None = None) -> list[str]:
        arguments = ["run", "--config", "configs/emoji.yaml", "--smoke"]
        arguments += ["--data", str(data or self.data), "--output", str(output or self.output)]
        for override in TINY:
            arguments += ["--set", override]
        return arguments


def vlsearch(*arguments: str, check: bool = True) -> subprocess.CompletedProcess:
    """Run the command line as a process of its own, in the repository's root."""
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    result = subprocess.run(
        [VLSEARCH, *arguments],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=environment,
        timeout=1000,
        check=False,
    )
    if check and result.returncode != 0:
        pytest.fail(f"vlsearch {' '.join(arguments)}\n{result.stdout}\n{result.stderr}")
    return result


@pytest.fixture(scope="session")
def emoji_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("emoji") / "data"
    vlsearch("data", "emoji", str(folder), "--limit", "60", "--impressions", "6000")
    return folder


@pytest.fixture(scope="session")
def tiny_run(emoji_folder, tmp_path_factory) -> TinyRun:
    run = TinyRun(emoji_folder, tmp_path_factory.mktemp("tiny"))
    vlsearch(*run.command())
    return run
