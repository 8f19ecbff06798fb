import pytest

from serving.errors import ServingError
from serving.manifests import write_folder


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    folder = tmp_path / "a" / "k8s"
    write_folder(folder, {"base/one.yaml": "1", "two.yaml": "2"}, {"release_root": "r"})
    assert contents(folder) == {
        "base/one.yaml": "1",
        "two.yaml": "2",
        "generated.json": '{\n  "generator": "vlsearch serving manifests",\n'
        '  "release_root": "r"\n}\n',
    }
    write_folder(folder, {"base/other.yaml": "3"}, {})
    assert contents(folder).keys() == {"base/other.yaml", "generated.json"}
    assert [path.name for path in folder.parent.iterdir()] == ["k8s"]


def test_the_folder_of_somebody_else_is_left_alone(tmp_path):
    folder = tmp_path / "k8s"
    folder.mkdir()
    write_folder(folder, {"one.yaml": "1"}, {})  # an empty one is nobody's

    for marker in ("{}", "[]", "oops", '{"generator": "other"}'):
        (folder / "generated.json").write_text(marker, encoding="utf-8")
        with pytest.raises(ServingError) as raised:
            write_folder(folder, {"two.yaml": "2"}, {})
        assert str(raised.value) == (
            f"{folder} is not empty and was not written by `vlsearch serving manifests`. Give "
            "--output another folder, or --force to replace it."
        )
        assert "one.yaml" in contents(folder)
    write_folder(folder, {"two.yaml": "2"}, {}, force=True)
    assert contents(folder).keys() == {"two.yaml", "generated.json"}


def test_a_file_is_no_folder(tmp_path):
    path = tmp_path / "k8s"
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(ServingError, match=f"^--output names a folder; {path} is a file"):
        write_folder(path, {"one.yaml": "1"}, {}, force=True)
    assert path.read_text(encoding="utf-8") == "mine"
