import h5py
import numpy as np
import pytest
import scipy.io

from tfx_pipeline.data.feature_set import FeatureSet, read_feature_set
from vl_models.errors import UserError

ROWS = 6
ARRAYS = {
    "img": np.arange(ROWS * 3, dtype=float).reshape(ROWS, 3),
    "txt": np.arange(ROWS * 2, dtype=float).reshape(ROWS, 2) - 5,
    "cls": np.array([0, 1, 2, 0, 1, 2]),
    "part": np.array(["train", "train", "val", "test", "train", "test"]),
}
KEYS = {"image": "img", "text": "txt", "label": "cls", "split": "part"}


def npz(folder, name="data.npz", **changes):
    path = folder / name
    arrays = {**ARRAYS, **changes}
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


def mat5(folder):
    path = folder / "data.mat"
    parts = np.array(ARRAYS["part"], object)[:, None]  # a cell array
    scipy.io.savemat(path, {**ARRAYS, "cls": ARRAYS["cls"][:, None], "part": parts})
    return path


def mat73(folder):
    """As MATLAB 7.3 writes it: transposed, characters as numbers, cells as references."""
    path = folder / "data73.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        for name in ("img", "txt", "cls"):
            values = np.atleast_2d(ARRAYS[name].T)
            file.create_dataset(name, data=values).attrs["MATLAB_class"] = np.bytes_("double")
        references = np.empty((1, ROWS), h5py.ref_dtype)
        for place, word in enumerate(ARRAYS["part"]):
            cell = file.create_dataset(
                f"#refs#/{place}", data=np.array([ord(c) for c in word], np.uint16)[:, None]
            )
            cell.attrs["MATLAB_class"] = np.bytes_("char")
            references[0, place] = cell.ref
        file.create_dataset("part", data=references).attrs["MATLAB_class"] = np.bytes_("cell")
    return path


@pytest.mark.parametrize("write", [npz, mat5, mat73])
def test_all_formats_hold_the_same(write, tmp_path):
    data = read_feature_set([write(tmp_path)], **KEYS)
    np.testing.assert_array_equal(data.image, ARRAYS["img"].astype(np.float32))
    np.testing.assert_array_equal(data.text, ARRAYS["txt"].astype(np.float32))
    np.testing.assert_array_equal(data.label, np.eye(3, dtype=bool)[ARRAYS["cls"]])
    assert data.split.tolist() == ARRAYS["part"].tolist()
    assert data.label_names == ("0", "1", "2") and data.has_image.all() and data.has_text.all()


def test_arrays_may_be_in_several_files_and_labels_multi_hot(tmp_path):
    hot = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1], [0, 1, 0], [1, 0, 0]])
    first = tmp_path / "a.npz"
    np.savez(first, img=ARRAYS["img"])
    second = npz(tmp_path, "b.npz", img=None, cls=hot)
    data = read_feature_set([first, second], **KEYS)
    np.testing.assert_array_equal(data.label, hot.astype(bool))


def test_what_was_saved_is_loaded(tmp_path):
    data = read_feature_set([npz(tmp_path)], **KEYS)
    data.save(tmp_path / "features.npz")
    again = FeatureSet.load(tmp_path / "features.npz")
    for name in FeatureSet.__dataclass_fields__:
        assert np.array_equal(getattr(again, name), getattr(data, name)), name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.npz", "features.npz"]


def test_labels_that_occur_are_the_classes_unless_their_number_is_given(tmp_path):
    path = npz(tmp_path, cls=np.array([1, 1, 7, 7, 3, 1]))
    assert read_feature_set([path], **KEYS).label_names == ("1", "3", "7")
    assert len(read_feature_set([path], **KEYS, classes=8).label_names) == 8
    names = npz(tmp_path, "n.npz", cls=np.array(["cat", "dog", "cat", "cat", "dog", "cat"]))
    assert read_feature_set([names], **KEYS).label_names == ("cat", "dog")


def test_texts_may_have_labels_of_their_own(tmp_path):
    topics = np.array(["news", "art", "art", "news", "news", "art"])
    data = read_feature_set([npz(tmp_path, topic=topics)], **KEYS, text_label="topic")
    assert data.label_names == ("0", "1", "2") and data.text_label_names == ("art", "news")
    np.testing.assert_array_equal(data.text_label[:, 1], topics == "news")
    assert read_feature_set([npz(tmp_path)], **KEYS).text_label.shape == (ROWS, 0)
    short = npz(tmp_path, "short.npz", topic=topics[:5])
    with pytest.raises(UserError, match=r"'cls' has 6 rows; .*'topic' has 5"):
        read_feature_set([short], **KEYS, text_label="topic")


def test_rows_are_drawn_for_val_and_test_where_there_are_none(tmp_path):
    rows = 100
    many = {"img": np.zeros((rows, 2)), "txt": np.zeros((rows, 2)), "cls": np.zeros(rows, int)}
    keys = {key: KEYS[key] for key in ("image", "text", "label")}
    drawn = read_feature_set([npz(tmp_path, **many, part=None)], **keys)
    assert drawn.counts() == {"train": 72, "val": 8, "test": 20}
    again = read_feature_set([npz(tmp_path, **many, part=None)], **keys)
    assert again.split.tolist() == drawn.split.tolist()
    given = np.array(["train"] * 80 + ["test"] * 20)
    halved = read_feature_set([npz(tmp_path, **many, part=given)], **KEYS, val_share=0.5)
    assert halved.counts() == {"train": 40, "val": 40, "test": 20}
    assert (halved.split[80:] == "test").all()


def test_a_row_of_nan_is_a_missing_modality_if_that_is_said(tmp_path):
    image = ARRAYS["img"].copy()
    image[2] = np.nan
    path = npz(tmp_path, img=image)
    data = read_feature_set([path], **KEYS, allow_missing=True)
    assert data.has_image.tolist() == [True, True, False, True, True, True]
    assert (data.image[2] == 0).all() and data.has_text.all()
    with pytest.raises(UserError, match=r"row 2, column 0 .* is nan.*give --allow-missing"):
        read_feature_set([path], **KEYS)


def nan_at(row, column):
    values = ARRAYS["img"].copy()
    values[row, column] = np.nan
    return values


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"img": nan_at(4, 1)},
            r"data\.npz: array 'img', row 4, column 1 \(counted .* is nan",
        ),
        ({"txt": np.full((ROWS, 2), np.inf)}, r"array 'txt', row 0, column 0 .* is inf"),
        (
            {"txt": np.zeros((5, 2))},
            r"do not belong together: .*'img' has 6 rows; .*'txt' has 5",
        ),
        (
            {"cls": np.array([0, 1, -1, 0, 1, 2])},
            r"'cls', row 2 .* is -1: a label is a whole",
        ),
        ({"cls": np.array([0, 1.5, 1, 0, 1, 2])}, r"array 'cls', row 1 .* is 1\.5"),
        ({"cls": np.array([0, np.nan, 1, 0, 1, 2])}, r"array 'cls', row 1 .* is nan"),
        ({"cls": np.full((ROWS, 3), 2)}, r"row 0, column 0 .* is 2: multi-hot labels are 0 or 1"),
        ({"part": np.array(["train"] * 5 + ["dev"])}, r"array 'part', row 5 .* is 'dev': a split"),
        ({"part": np.array(["test"] * 6)}, r"no row belongs to the split train"),
        ({"img": np.zeros(ROWS)}, r"array 'img' must be a matrix of numbers.*shape \(6,\)"),
        ({"img": None}, r"No file has an array 'img'\. Arrays: cls \(data\.npz\), part"),
    ],
)
def test_what_cannot_be_used_is_named(changes, message, tmp_path):
    with pytest.raises(UserError, match=message):
        read_feature_set([npz(tmp_path, **changes)], **KEYS)


def test_labels_beyond_the_given_classes_are_out_of_range(tmp_path):
    with pytest.raises(UserError, match=r"row 2 .* is 2: a label is a whole number from 0 to 1"):
        read_feature_set([npz(tmp_path)], **KEYS, classes=2)


def test_an_array_in_two_files_and_broken_files_are_named(tmp_path):
    with pytest.raises(UserError, match="2 files have an array 'img'"):
        read_feature_set([npz(tmp_path), npz(tmp_path, "again.npz")], **KEYS)
    broken = tmp_path / "broken.mat"
    broken.write_bytes(b"no matrix")
    with pytest.raises(UserError, match=r"broken\.mat: not a whole \.mat file"):
        read_feature_set([broken], **KEYS)
    with pytest.raises(UserError, match=r"absent\.npz: no such file"):
        read_feature_set([tmp_path / "absent.npz"], **KEYS)
    other = tmp_path / "data.csv"
    other.write_text("1,2")
    with pytest.raises(UserError, match=r"features are read from \.npz and \.mat files"):
        read_feature_set([other], **KEYS)
