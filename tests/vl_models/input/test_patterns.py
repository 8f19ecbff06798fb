from pathlib import Path

import pytest
import tensorflow as tf
from apache_beam.io.filesystems import FileSystems

from vl_models.input.patterns import in_folder
from vl_models.input.records import find_shards


@pytest.mark.parametrize("name", ["[2024] run", "a*b?", "100% {x}", "plain"])
def test_only_the_name_of_a_file_is_a_pattern(tmp_path, name, monkeypatch):
    for folder in (name, "2", "axb!"):
        (tmp_path / folder).mkdir()
        with tf.io.TFRecordWriter(f"{tmp_path}/{folder}/part-0") as writer:
            writer.write(b"x")
    pattern = f"{tmp_path}/{name}/part-*"
    expected = [f"{tmp_path}/{name}/part-0"]
    assert find_shards([pattern]) == expected
    monkeypatch.chdir(tmp_path)
    for written in (pattern, f"{name}/part-*"):
        [match] = FileSystems.match([in_folder(written)])
        assert [str(Path(found.path).absolute()) for found in match.metadata_list] == expected


def test_a_pattern_without_a_folder_stays():
    assert in_folder("part-*") == "part-*"
    assert in_folder("gs://b/[x]/part-*") == "gs://b/[[]x]/part-*"
