import ast

import pytest

from tfx_pipeline import fingerprint


def test_boundaries_between_texts_count():
    assert fingerprint.fingerprint_text("ab", "c") != fingerprint.fingerprint_text("a", "bc")
    assert fingerprint.fingerprint_text("ab", "c") == fingerprint.fingerprint_text("ab", "c")


def test_a_file_is_known_by_its_content(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(b"same")
    second.write_bytes(b"same")
    assert fingerprint.fingerprint_file(first) == fingerprint.fingerprint_file(second)
    second.write_bytes(b"other")
    assert fingerprint.fingerprint_file(first) != fingerprint.fingerprint_file(second)


def test_code_changes_the_fingerprint_and_other_files_do_not(tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprint, "_ROOT", tmp_path)
    source = tmp_path / "package" / "module.py"
    source.parent.mkdir()
    source.write_text("a = 1\n", encoding="utf-8")
    before = fingerprint.fingerprint_code("package")
    (source.parent / "notes.txt").write_text("x", encoding="utf-8")
    assert fingerprint.fingerprint_code("package") == before
    source.write_text("a = 2\n", encoding="utf-8")
    changed = fingerprint.fingerprint_code("package")
    assert changed != before
    assert fingerprint.fingerprint_code("package/module.py") == changed  # one file's code
    source.rename(source.with_name("renamed.py"))
    assert fingerprint.fingerprint_code("package") != changed


def test_code_that_is_not_there_is_an_error():
    with pytest.raises(FileNotFoundError, match=r"no code at vl_models/gone\.py"):
        fingerprint.fingerprint_code("vl_models/text", "vl_models/gone.py")


def _places():
    """Every place that a list of code, or a call, names: (file, place)."""
    for path in sorted((fingerprint._ROOT / "tfx_pipeline").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = isinstance(node, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id.endswith("_CODE")
                for target in node.targets
            )
            called = isinstance(node, ast.Call) and "fingerprint_code" in ast.unparse(node.func)
            if named or called:
                inside = [node.value] if named else node.args
                for part in inside:
                    for text in ast.walk(part):
                        if isinstance(text, ast.Constant) and "/" in str(text.value):
                            yield path.relative_to(fingerprint._ROOT).as_posix(), text.value


def test_all_code_that_steps_depend_on_is_there():
    places = list(_places())
    files = {file for file, _ in places}
    assert {f"tfx_pipeline/{name}.py" for name in ("submission", "training_run")} <= files
    assert {"tfx_pipeline/data/examples.py", "tfx_pipeline/trials/result.py"} <= files
    for _, place in places:
        fingerprint.fingerprint_code(place)
