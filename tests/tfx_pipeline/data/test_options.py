import pytest

from tfx_pipeline.data.config import CsvConfig
from tfx_pipeline.data.folder import DataFolder
from tfx_pipeline.data.options import DataConfig
from vl_models.errors import UserError

FOLDER = "kind: clicks\nname: mini\ncsv: {delimiter: '\\t', encoding: gb18030}\n"


def test_csv_is_described_in_data_yaml_and_the_experiment_wins(tmp_path):
    (tmp_path / "data.yaml").write_text(FOLDER.replace("'\\t'", '"\\t"'))
    folder = DataFolder.load(tmp_path)
    described = CsvConfig(delimiter="\t", encoding="gb18030")
    assert DataConfig(folder=str(tmp_path)).example_config(folder).csv == described
    changed = DataConfig.model_validate({"folder": str(tmp_path), "csv": {"quote": "none"}})
    again = DataConfig.model_validate_json(changed.model_dump_json())
    assert again.example_config(folder).csv == CsvConfig(quote="none")


def test_a_key_that_csv_does_not_have_is_refused(tmp_path):
    (tmp_path / "data.yaml").write_text(FOLDER.replace("delimiter", "delimeter"))
    with pytest.raises(UserError, match=r"did you mean 'csv\.delimiter'"):
        DataFolder.load(tmp_path)
