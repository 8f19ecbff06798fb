"""The image's recipe, as far as it can be checked without building it, and the two scripts."""

import re
import subprocess
import sys

from tests.tfx_pipeline.conftest import REPOSITORY

RECIPE = (REPOSITORY / "kubeflow" / "Dockerfile").read_text(encoding="utf-8")


def test_everything_it_copies_is_there_and_not_ignored():
    ignored = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", RECIPE, re.MULTILINE)
        for source in line.split()[:-1]
    ]

    assert ignored[0] == "*"
    for source in copied:
        assert (REPOSITORY / source).exists()
        assert f"!{source}" in ignored
    assert {"requirements.lock", "vl_models", "tfx_pipeline", "serving"} <= set(copied)


def test_it_installs_the_lock_and_runs_as_an_ordinary_user():
    assert "--no-deps --compile-bytecode -r requirements.lock" in RECIPE
    assert re.findall(r"^USER (.+)$", RECIPE, re.MULTILINE) == ["1000"]
    assert RECIPE.rindex("USER") > RECIPE.rindex("RUN")


def test_the_scripts_are_the_two_commands():
    for name in ("compile", "submit"):
        result = subprocess.run(
            [sys.executable, f"kubeflow/{name}.py", "--help"],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        )
        assert f"kubeflow {name} [OPTIONS]" in result.stdout
