import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.errors import ServingError
from serving.index import SearchIndex, build_index, sign_bits

COUNT, DIMENSION = 500, 16


def _unit(count, seed, dimension=DIMENSION):
    vectors = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def gallery():
    return _unit(COUNT, 0)


def _build(gallery, folder, **options):
    ids = [f"id{i}" for i in range(len(gallery))]
    build_index(gallery, ids, [f"uri/{i}" for i in ids], folder, tower_version=3, **options)
    return folder


@pytest.fixture
def folder(gallery, tmp_path):
    return _build(gallery, tmp_path / "index", source_prefix="gs://bucket")


def test_flat_equals_brute_force(gallery, folder):
    queries = _unit(20, 1)
    similarity = queries @ gallery.T
    order = np.argsort(-similarity, axis=1)[:, :10]
    for row, hits in enumerate(SearchIndex.load(folder).search(queries, 10)):
        assert [hit.id for hit in hits] == [f"id{i}" for i in order[row]]
        assert hits[0].uri == f"uri/{hits[0].id}"
        np.testing.assert_allclose([h.score for h in hits], similarity[row, order[row]], atol=1e-6)


def test_hnsw_finds_nearly_all_and_more_with_more_breadth(gallery, tmp_path):
    folder = _build(gallery, tmp_path / "hnsw", kind="hnsw")
    queries = _unit(100, 2)
    true = np.argsort(-(queries @ gallery.T), axis=1)[:, :10]

    def recall(ef_search):
        found = SearchIndex.load(folder, ef_search=ef_search).search(queries, 10)
        return np.mean(
            [
                len({h.id for h in hits} & {f"id{i}" for i in row}) / 10
                for hits, row in zip(found, true)
            ]
        )

    assert recall(200) > 0.99
    assert recall(10) <= recall(200)


def test_binary_ranks_by_the_hamming_distance_of_the_signs(gallery, tmp_path):
    index = SearchIndex.load(_build(gallery, tmp_path / "binary", kind="binary"))
    queries = _unit(20, 3)
    same_signs = ((queries >= 0)[:, None, :] == (gallery >= 0)[None, :, :]).mean(axis=2)
    for row, hits in enumerate(index.search(queries, 10)):
        np.testing.assert_allclose(
            [hit.score for hit in hits], np.sort(2 * same_signs[row] - 1)[::-1][:10], atol=1e-6
        )
        for hit in hits:
            assert hit.score == pytest.approx(2 * same_signs[row, int(hit.id[2:])] - 1)
    assert index.description["metric"] == "hamming"
    assert index.description["bits"] == DIMENSION


def test_sign_bits_start_with_the_least_significant_and_count_zero_as_set():
    codes = sign_bits(np.array([[0.0, -1, -1, 2, -1, -1, -1, 0.5]]))
    assert codes.dtype == np.uint8
    assert codes.tolist() == [[1 + 8 + 128]]


def test_a_binary_index_needs_whole_bytes(tmp_path):
    with pytest.raises(ServingError, match=r"a multiple of 8\. Received: 12 dimensions"):
        _build(_unit(3, 0, 12), tmp_path / "binary", kind="binary")


@pytest.mark.parametrize("kind", ["flat", "hnsw", "binary"])
def test_an_item_finds_itself_and_k_is_clipped(gallery, tmp_path, kind):
    index = SearchIndex.load(_build(gallery[:7], tmp_path / kind, kind=kind))
    (hits,) = index.search(gallery[3:4], 100)
    assert len(hits) == len(index) == 7
    assert hits[0].id == "id3"
    assert hits[0].score == pytest.approx(1)
    assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)


def test_description(folder):
    assert json.loads((folder / "index.json").read_text()) == {
        "tower_version": 3,
        "metric": "inner_product",
        "kind": "flat",
        "dimension": DIMENSION,
        "count": COUNT,
        "bits": None,
        "source_prefix": "gs://bucket",
    }
    assert SearchIndex.load(folder).tower_version == 3
    assert list(folder.parent.iterdir()) == [folder]


def test_building_again_replaces(gallery, folder):
    _build(gallery[:5], folder)
    assert len(SearchIndex.load(folder)) == 5
    assert list(folder.parent.iterdir()) == [folder]


def test_dimension_mismatch_names_both(folder):
    with pytest.raises(ServingError, match=r"16 dimensions, the queries have shape \[2, 5\]"):
        SearchIndex.load(folder).search(np.ones((2, 5), np.float32), 1)


def test_k_below_one(folder):
    with pytest.raises(ServingError, match="Received: k=0"):
        SearchIndex.load(folder).search(_unit(1, 0), 0)


@pytest.mark.parametrize("name", ["index.json", "index.faiss", "items.parquet"])
def test_missing_file(folder, name):
    (folder / name).unlink()
    with pytest.raises(ServingError, match=f"is not an index: it has no {name}"):
        SearchIndex.load(folder)


@pytest.mark.parametrize("name", ["index.json", "index.faiss", "items.parquet"])
def test_broken_file(folder, name):
    (folder / name).write_bytes(b"garbage")
    with pytest.raises(ServingError, match=f"{name} is .*build_index"):
        SearchIndex.load(folder)


def test_truncated_faiss_file(folder):
    content = (folder / "index.faiss").read_bytes()
    (folder / "index.faiss").write_bytes(content[: len(content) // 2])
    with pytest.raises(ServingError, match="not a readable FAISS index"):
        SearchIndex.load(folder)


def test_files_of_different_indexes(folder):
    pq.write_table(pa.table({"id": ["a"], "uri": ["b"]}), folder / "items.parquet")
    with pytest.raises(
        ServingError, match=r"do not belong together: .* 500 .* items.parquet 1 row"
    ):
        SearchIndex.load(folder)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda v, i: (v * 2, i), "500 of 500 embeddings are not unit-norm; the first is row 0"),
        (lambda v, i: (np.where(np.arange(COUNT)[:, None] == 4, np.nan, v), i), r"row 4 \(id4\)"),
        (lambda v, i: (v, i[:-1]), "500 embeddings, 499 ids, 500 uris"),
        (lambda v, i: (v, [*i[:-1], "id0"]), "Received twice: 'id0'"),
        (lambda v, i: (v[:0], []), r"shape=\[0, 16\]"),
    ],
)
def test_wrong_items(gallery, tmp_path, change, text):
    ids = [f"id{i}" for i in range(COUNT)]
    vectors, ids_given = change(gallery, ids)
    with pytest.raises(ServingError, match=text):
        build_index(vectors, ids_given, ids, tmp_path / "index", tower_version=1)
    assert not list(tmp_path.iterdir())


def test_unknown_kind(gallery, tmp_path):
    with pytest.raises(ServingError, match=r"one of flat, hnsw, binary\. Received: kind='ivf'"):
        _build(gallery, tmp_path / "index", kind="ivf")


def test_a_folder_that_cannot_be_written_is_told(gallery, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        ServingError, match=f"{tmp_path}/file/index cannot be written: not a directory"
    ):
        _build(gallery, tmp_path / "file" / "index")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": ["a"]}, "columns id and uri"),
        ({"id": [1], "uri": ["b"]}, "an id or uri that is no text"),
        ({"id": ["a"], "uri": [None]}, "an id or uri that is no text"),
        (
            {"id": pa.array(["a"]), "uri": pa.Array.from_buffers(
                pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")]
            )},
            "not a readable Parquet file",
        ),
    ],
)  # fmt: skip
def test_items_of_other_types(gallery, tmp_path, columns, message):
    folder = _build(gallery[:1], tmp_path / "index")
    pq.write_table(pa.table(columns), folder / "items.parquet")
    with pytest.raises(ServingError, match=message):
        SearchIndex.load(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"count": True},
        {"count": "500"},
        {"dimension": 16.0},
        {"dimension": None},
        {"kind": "hnsw"},
        {"kind": "binary"},
        {"kind": "ivf"},
        {"kind": ["flat"]},
        {"tower_version": "3"},
        {"tower_version": True},
    ],
)
def test_a_description_of_other_types(folder, change):
    path = folder / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ServingError, match=r"index\.(json|faiss) is "):
        SearchIndex.load(folder)


@pytest.mark.parametrize("content", ["[]", "null", "3", "[" * 100_000, '{"count": 1}'])
def test_a_description_that_is_none(folder, content):
    (folder / "index.json").write_text(content)
    with pytest.raises(ServingError, match=r"index\.json"):
        SearchIndex.load(folder)
