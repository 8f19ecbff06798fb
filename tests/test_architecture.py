"""The rooms of docs/architecture.md: who may know whom, and what an import costs."""

import ast
import collections
import graphlib
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
