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
