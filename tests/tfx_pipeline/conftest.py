"""One tiny trained pipeline per test run, made by the command line as a user would."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import preloaded

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
    """Run the command line in a forked process that has imported TensorFlow already."""
    result = preloaded.run([VLSEARCH, *arguments], env=_environment(), cwd=REPOSITORY, timeout=1000)
    return _checked(result, check)


def vlsearch_anew(*arguments: str, check: bool = True) -> subprocess.CompletedProcess:
    """Run the command line as a user does, with all that imports say and take."""
    result = subprocess.run(
        [VLSEARCH, *arguments],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=_environment(),
        timeout=1000,
        check=False,
    )
    return _checked(result, check)


def _environment() -> dict[str, str]:
    return {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}


def _checked(result: subprocess.CompletedProcess, check: bool) -> subprocess.CompletedProcess:
    if check and result.returncode != 0:
        pytest.fail(f"{result.args}\n{result.stdout}\n{result.stderr}")
    return result


@pytest.fixture(scope="session")
def emoji_folder(made_once) -> Path:
    """A small click log and its images; tests that change something copy it."""

    def make(folder):
        vlsearch("data", "emoji", str(folder), "--limit", "60", "--impressions", "6000")

    return made_once("emoji", make)


@pytest.fixture(scope="session")
def tiny_run(emoji_folder, made_once) -> TinyRun:
    """The pipeline's run on it; tests that run the pipeline again copy its output."""

    def make(folder):
        vlsearch(*TinyRun(emoji_folder, folder).command())

    return TinyRun(emoji_folder, made_once("tiny", make))
