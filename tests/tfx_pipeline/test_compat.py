"""The stand-in module: there where it is missing, and out of the way where it is not."""

import subprocess
import sys

SHOW = "from tfx_bsl.arrow import sql_util; print(sql_util.__spec__.origin, sql_util.__name__)"


def run(code: str, path: str = "") -> str:
    prefix = f"import sys; sys.path.insert(0, {path!r})\n" if path else ""
    result = subprocess.run(
        [sys.executable, "-c", prefix + code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def make_package(root, with_module):
    package = root / "tfx_bsl" / "arrow"
    package.mkdir(parents=True)
    (root / "tfx_bsl" / "__init__.py").touch()
    (package / "__init__.py").touch()
    if with_module:
        (package / "sql_util.py").touch()


def test_the_stand_in_answers_where_the_module_is_missing(tmp_path):
    make_package(tmp_path, with_module=False)
    assert run(f"import tfx_pipeline; {SHOW}", str(tmp_path)) == "None tfx_bsl.arrow.sql_util"


def test_the_real_module_wins_where_it_exists(tmp_path):
    make_package(tmp_path, with_module=True)
    origin = tmp_path / "tfx_bsl" / "arrow" / "sql_util.py"
    assert run(f"import tfx_pipeline; {SHOW}", str(tmp_path)).split()[0] == str(origin)


def test_installing_twice_adds_one_finder():
    code = (
        "import sys, tfx_pipeline\nfrom tfx_pipeline import compat\nbefore = len(sys.meta_path)\n"
        "compat.install(); print(len(sys.meta_path) - before)"
    )
    assert run(code) == "0"


def test_using_the_stand_in_says_what_is_needed(tmp_path):
    make_package(tmp_path, with_module=False)
    code = (
        "import tfx_pipeline\nfrom tfx_bsl.arrow import sql_util\n"
        "try:\n    sql_util.RecordBatchSQLSliceQuery('SELECT', None)\n"
        "except NotImplementedError as error:\n    print(error)"
    )
    assert "needs tensorflow-data-validation >= 1.21" in run(code, str(tmp_path))
