import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfx_pipeline.release.gallery_embeddings import read_embeddings


def _write(path, ids, width=3):
    """Shard of rows whose embedding repeats their number; two rows per row group."""
    rows = [
        {"id": f"image-{i}", "uri": f"{i}.jpg", "content": f"c{i}", "embedding": [float(i)] * width}
        for i in ids
    ]
    texts = [(name, pa.string()) for name in ("id", "uri", "content")]
    schema = pa.schema([*texts, ("embedding", pa.list_(pa.float32()))])
    pq.write_table(pa.Table.from_pylist(rows, schema), path, row_group_size=2)


def test_embeddings_of_all_shards_are_sorted_by_id(tmp_path):
    _write(tmp_path / "part-00000-of-00003.parquet", [7, 1, 4, 0, 9])
    _write(tmp_path / "part-00001-of-00003.parquet", [])
    _write(tmp_path / "part-00002-of-00003.parquet", [5, 2, 8])
    ids, uris, contents, matrix = read_embeddings(tmp_path)
    numbers = [0, 1, 2, 4, 5, 7, 8, 9]
    assert ids == [f"image-{i}" for i in numbers]
    assert uris == [f"{i}.jpg" for i in numbers]
    assert contents == [f"c{i}" for i in numbers]
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix, np.repeat(numbers, 3).reshape(8, 3))


def test_shards_without_a_row_give_an_empty_matrix(tmp_path):
    _write(tmp_path / "part-00000-of-00001.parquet", [])
    ids, uris, contents, matrix = read_embeddings(tmp_path)
    assert (ids, uris, contents, len(matrix)) == ([], [], [], 0)
