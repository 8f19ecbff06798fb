"""The notebook runner's manners, in an IPython process; the notebooks run it to the end."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tfx_pipeline.conftest import REPOSITORY
from tfx_pipeline.runners.interactive import InteractiveRun
from vl_models.errors import UserError

SESSION = Path(__file__).with_name("interactive_session.py")
STEPS = (
    "ClickExampleGen, StatisticsGen, SchemaGen, ExampleValidator, VocabularyGen, TextTransform, "
    "Trainer, RetrievalEvaluator, IndexBuilder, ServingValidator, ReleasePusher"
)


@pytest.fixture(scope="module")
def session(emoji_folder, tmp_path_factory):
    """What the session found, and what it printed by part."""
    work = tmp_path_factory.mktemp("interactive")
    ipython = [sys.executable, "-m", "IPython", "--no-banner", "--colors=NoColor"]
    result = subprocess.run(
        [*ipython, str(SESSION), "--", str(emoji_folder), str(work)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, "IPYTHONDIR": str(work), "PYTHONPATH": str(REPOSITORY)},
        timeout=600,
        check=False,
    )
    assert (work / "found.json").is_file(), result.stdout + result.stderr
    found = json.loads((work / "found.json").read_text(encoding="utf-8"))
    parts = result.stdout.split("--- ")[1:]
    return found, {name: lines for name, *lines in (part.splitlines() for part in parts)}


def test_outside_of_a_notebook_it_says_where_to_go():
    with pytest.raises(UserError, match=r"works in a notebook or in IPython.*Use `vlsearch run`"):
        InteractiveRun("configs/emoji.yaml")


@pytest.mark.slow
def test_errors_name_what_is_there_and_what_to_run_first(session):
    found, _ = session
    steps = f"The steps of this run are {STEPS}."

    assert found["unknown"] == f"UserError: There is no step 'SchemaGem'. {steps}"
    assert found["unknown_until"] == f"UserError: There is no step 'Nothing'. {steps}"
    assert found["too_early"] == (
        "UserError: TextTransform needs what other steps make. Run ClickExampleGen, SchemaGen, "
        "VocabularyGen first, or everything that is missing up to here by "
        "run_until('TextTransform')."
    )
    assert found["not_run"] == (
        "UserError: ClickExampleGen has not run yet. Run it first: run_until('ClickExampleGen')."
    )
    assert found["no_output"] == (
        "UserError: ClickExampleGen has no output 'rejects'; it has examples, gallery, rejected, "
        "relevance."
    )
    assert found["no_result"] == (
        "UserError: The run has not ended: ReleasePusher has not run. Use run_all()."
    )


@pytest.mark.slow
def test_finished_steps_are_not_repeated(session):
    found, printed = session

    first = [line.split() for line in printed["first"]]
    names = ["ClickExampleGen", "StatisticsGen", "SchemaGen", "ExampleValidator"]
    assert [line[2] for line in first] == names  # each once, by two calls
    assert [line[1] for line in first] == ["1/11]", "2/11]", "3/11]", "4/11]"]
    assert all(line[-1] == "s" for line in first)
    assert [line.split()[2:] for line in printed["again"]] == [
        [name, "cached"] for name in ("ClickExampleGen", "StatisticsGen", "SchemaGen")
    ] + [["StatisticsGen", "cached"]]
    assert found["rows"] == 0
    assert "  ExampleValidator     done\n  VocabularyGen        –" in found["repr"]


@pytest.mark.slow
def test_what_builds_on_a_step_that_was_made_anew_has_to_run_again(session):
    found, printed = session

    assert found["kept"]
    [line] = printed["lost"]
    assert line.startswith("[ 2/11] StatisticsGen") and line.endswith(" s")
    assert found["stale"] == (
        "UserError: SchemaGen has not run yet. Run it first: run_until('SchemaGen')."
    )


@pytest.mark.slow
def test_nothing_to_evaluate_on_is_said_at_the_first_step_each_time(session):
    found, printed = session

    assert all("The test split is empty" in error for error in found["empty"])
    assert [line.split()[2:] for line in printed["nothing to evaluate"]] == [
        ["ClickExampleGen", "failed"]
    ] * 2
