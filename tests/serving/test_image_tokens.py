import numpy as np
import pytest

from serving.errors import ServingError
from serving.image_tokens import read_image_tokens, write_image_tokens

TOKENS = np.arange(4 * 3 * 2, dtype=np.float16).reshape(4, 3, 2)


def pieces(*rows):
    for part in rows:
        yield np.array(part), TOKENS[list(part)]


def test_pieces_of_any_order_lie_in_the_order_of_the_rows(tmp_path):
    path = tmp_path / "image_tokens.npy"
    assert write_image_tokens(path, 4, pieces([3, 1], [0], [2])) == (3, 2)
    found = read_image_tokens(path, (4, 3, 2))
    assert isinstance(found, np.memmap)
    np.testing.assert_array_equal(found, TOKENS)
    np.testing.assert_array_equal(np.load(path), TOKENS)


def test_the_largest_is_16_kib_an_image(tmp_path):
    path = tmp_path / "image_tokens.npy"
    write_image_tokens(path, 2, [(np.arange(2), np.zeros((2, 64, 128), np.float16))])
    assert path.stat().st_size <= 2 * 2**14 + 128  # NumPy's header
    with pytest.raises(ServingError, match=r"at most 16,384 bytes. Received: shape=\[2, 64, 129\]"):
        write_image_tokens(path, 2, [(np.arange(2), np.zeros((2, 64, 129), np.float16))])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([[0, 1], [3]], "1 of 4 images have no tokens, the first is row 2. Make them of the same"),
        ([], "4 of 4 images have no tokens"),
        ([[0, 1], [1, 2, 3]], r"has its tokens once\. Received: rows=\[1, 2, 3\]"),
    ],
)
def test_rows_that_are_missing_or_twice(tmp_path, given, message):
    with pytest.raises(ServingError, match=message):
        write_image_tokens(tmp_path / "image_tokens.npy", 4, pieces(*given))


@pytest.mark.parametrize(
    ("rows", "tokens", "message"),
    [
        ([1, 4], TOKENS[:2], r"Each of the 4 images .* Received: rows=\[1, 4\]"),
        ([1], TOKENS[:1].astype(np.float32), r"Received: float32 \[1, 3, 2\] for 1 rows"),
        ([1], TOKENS[:1, :2], r"Received: float16 \[1, 2, 2\] for 1 rows"),
        ([1, 2], TOKENS[:1], r"Received: float16 \[1, 3, 2\] for 2 rows"),
    ],
)
def test_pieces_that_do_not_fit(tmp_path, rows, tokens, message):
    first = (np.array([0]), TOKENS[:1])
    with pytest.raises(ServingError, match=message):
        write_image_tokens(tmp_path / "image_tokens.npy", 4, [first, (np.array(rows), tokens)])


def test_a_file_of_another_index(tmp_path):
    path = tmp_path / "image_tokens.npy"
    with pytest.raises(ServingError, match=r"is not a readable NumPy file: .*Build the in"):
        read_image_tokens(path, (4, 3, 2))
    path.write_bytes(b"no array")
    with pytest.raises(ServingError, match="is not a readable NumPy file"):
        read_image_tokens(path, (4, 3, 2))
    write_image_tokens(path, 4, pieces([0, 1, 2, 3]))
    with pytest.raises(ServingError, match=r"say image tokens float16 \[5, 3, 2\], image_tok"):
        read_image_tokens(path, (5, 3, 2))
