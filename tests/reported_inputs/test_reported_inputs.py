"""Every reported input through the example builder, two of them through the command line.

Two trainings in one run folder are in tests/tfx_pipeline/test_run_lock.py.
"""

import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.reported_inputs.table import CASES
from tests.tfx_pipeline.conftest import vlsearch
from tests.tfx_pipeline.tiny_experiment import write_tiny
from tfx_pipeline.data.captions import write_captions
from tfx_pipeline.data.examples import materialize_examples
from tfx_pipeline.data.folder import DataFolder
from tfx_pipeline.data.writers import read_records
from vl_models.errors import UserError

JPEG_TOLERANCE = 20


@pytest.mark.parametrize("name", CASES)
def test_what_comes_of_it(name, tmp_path):
    case = CASES[name]
    folder, out = case.make(tmp_path), tmp_path / "out"
    error = ""
    try:
        if case.captions:
            write_captions(folder / case.captions, folder / "photos", out)
        data = DataFolder.load(out if case.captions else folder)
        materialize_examples(data, out / "data")
    except UserError as caught:
        error = str(caught)
    assert error == case.expected_error(folder, out)
    check_counts(case, out)
    if not error:
        check_content(case, out / "data")


@pytest.mark.parametrize(
    "name", [pytest.param("csv-unclosed-quote", marks=pytest.mark.slow), "caption-json-list"]
)
def test_the_command_line(name, tmp_path):
    case = CASES[name]
    folder, out = case.make(tmp_path), tmp_path / "out"
    config = write_tiny(tmp_path / "tiny.yaml")
    arguments = case.command(folder, out, config)
    if not case.captions:
        arguments += ["--set", "train.steps=2", "--set", "train.warmup_steps=1"]
    vlsearch(*arguments)
    check_counts(case, out)


def check_counts(case, out):
    """All rows that were read are accepted or rejected; the rejected ones are kept."""
    folder = case.rejected_folder(out)
    summary = json.loads((folder / "summary.json").read_text("utf-8"))
    counts = summary["log"]
    assert summary["rejected"] == case.rejected
    assert counts["accepted"] == case.accepted
    assert counts["read"] == case.accepted + sum(case.rejected.values())
    files = sorted(folder.glob("rejected-*.jsonl"))
    rows = [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]
    assert sum(row["rows"] for row in rows) == sum(case.rejected.values())
    messages = {row["row"]: row["message"] for row in rows}
    assert {row: messages[row] for row in case.messages} == case.messages


def check_content(case, built):
    """What training gets is what the input says."""
    log = json.loads((built / "rejected/summary.json").read_text("utf-8"))["log"]
    assert log["accepted"] == case.accepted
    pairs = pq.read_table(built / "relevance/relevance.parquet").to_pylist()
    for image, texts in case.texts.items():
        assert sorted(pair["query"] for pair in pairs if pair["image_id"] == image) == texts
    found = [pair["split"] for pair in pairs]
    assert {split: found.count(split) for split in case.splits} == case.splits
    if case.picture:
        image = gallery_image(built / "gallery", case.picture.image)
        assert image.size == case.picture.size
        for place, colour in case.picture.pixels.items():
            distance = np.subtract(image.getpixel(place), colour)
            assert abs(distance).max() <= JPEG_TOLERANCE, place


def gallery_image(folder, name):
    for path in sorted(folder.glob("*.gz")):
        for example in read_records(str(path)):
            features = example.features.feature
            if features["image/id"].bytes_list.value[0].decode() == name:
                return Image.open(io.BytesIO(features["image/encoded"].bytes_list.value[0]))
    raise AssertionError(f"{name} is not in {folder}")
