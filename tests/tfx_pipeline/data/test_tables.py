"""Tables as files: whole, or as they were."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.data.tables import write_parquet


def test_a_file_is_written_whole_or_left_as_it_was(tmp_path):
    path = tmp_path / "log" / "clicks.parquet"
    table = pa.table({"query": ["red shoe", "猫"], "clicked": [1, 0]})
    write_parquet(table, path, row_group_size=1)
    assert pq.read_table(path).equals(table)
    assert pq.ParquetFile(path).num_row_groups == 2
    with pytest.raises(pa.ArrowException, match="Unsupported compression"):
        write_parquet(table.slice(1), path, compression="none of these")
    assert pq.read_table(path).equals(table)
    assert [file.name for file in path.parent.iterdir()] == ["clicks.parquet"]
