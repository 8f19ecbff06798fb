"""The rooms of docs/architecture.md: who may know whom, and what an import costs."""

import ast
import collections
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("vl_models", "tfx_pipeline", "serving")
MOST_FILES_OF_CLIP = 29


def run_python(code):
    """What a fresh process prints."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_rooms_know_only_whom_they_may():
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_no_module_imports_itself_through_others():
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)
    imported = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        graphlib.TopologicalSorter(imported).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_one_class_per_name():
    places = collections.defaultdict(list)
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    places[node.name].append(str(path.relative_to(ROOT)))
    repeated = {name: paths for name, paths in places.items() if len(paths) > 1}
    assert not repeated


def test_an_experiment_is_read_without_keras_tensorflow_and_beam():
    found = run_python(
        "import sys\n"
        "from pathlib import Path\n"
        "from tfx_pipeline.config import ExperimentConfig\n"
        "for path in Path('configs').glob('*.yaml'):\n"
        "    ExperimentConfig.load(path)\n"
        "slow = {'keras', 'tensorflow', 'apache_beam', 'tfx'}\n"
        "print(sorted(slow & sys.modules.keys()))\n"
    )
    assert found.strip() == "[]"


def test_clip_is_read_in_few_files():
    found = run_python(
        "import sys\n"
        "import vl_models.models.clip\n"
        "files = {m.__file__ for n, m in sys.modules.items() if n.startswith('vl_models.')}\n"
        "print(*sorted(f for f in files if not f.endswith('__init__.py')), sep='\\n')\n"
    )
    files = found.split()
    assert len(files) <= MOST_FILES_OF_CLIP, found


# Section of docs/architecture.md, and a word that every file of its example holds.
EXAMPLES = {
    "A system": r"siglip",
    "A task": r"pair_?margin",
    "An evaluator": r"rerank",
    "A member of a release": r"rerank|ScoresPairs",
    "An importer of logs": r"jsonl",
    "A key of the batch": r"answer",
}


def sections():
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    _, _, touched = text.partition("## What to touch")
    parts = re.split(r"^### (.+)$", touched, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def test_every_list_of_files_has_an_example():
    assert sections().keys() == EXAMPLES.keys()


@pytest.mark.parametrize("section", EXAMPLES)
def test_the_files_to_touch_are_those_of_the_example(section):
    listed = re.findall(r"^- `([^`]+)`", sections()[section], flags=re.MULTILINE)
    assert listed
    for path in listed:
        text = (ROOT / path).read_text(encoding="utf-8")
        assert re.search(EXAMPLES[section], text, flags=re.IGNORECASE), path


def test_a_system_is_named_in_no_other_room():
    """What is listed is all: nobody else asks for the system by its name."""
    listed = set(re.findall(r"^- `([^`]+)`", sections()["A system"], flags=re.MULTILINE))
    named = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if re.search(r"\bSigLIP\b|['\"]siglip['\"]", code_of(path))
    }
    # Weights of others are recognised by their layouts, which know SigLIP's bias.
    assert {path for path in named if "/weights/" not in path} <= listed


def code_of(path):
    """A file without docstrings and comments."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)
