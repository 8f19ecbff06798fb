import numpy as np
import pytest

from vl_models.layers.relative_position_bias import (
    RelativePositionBias,
    bias_indices,
    image_rows,
    table_rows,
)

GRID, LENGTH = 14, 196


def test_published_numbers(golden):
    expected = golden["vlmo_relpos"]
    assert image_rows(GRID) == expected["num_relative_distance"]
    assert table_rows(GRID, LENGTH) == expected["all"]
    pair = bias_indices(GRID, LENGTH, "pair")
    assert (pair[0, LENGTH], pair[LENGTH, 0]) == (
        expected["cross t->i idx"],
        expected["cross i->t idx"],
    )
    text, image = pair[:LENGTH, :LENGTH], pair[LENGTH:, LENGTH:]
    assert [text[0, 1], text[1, 0], text[0, 0]] == expected["text CLS idx (row,col,self)"]
    assert [image[0, 1], image[1, 0], image[0, 0]] == expected["img CLS idx (row,col,self)"]
    assert text[5, 5] == expected["text diag idx"]
    for length, name in ((LENGTH, "full len196 body range"), (40, "text body idx range for len40")):
        body = text[1:length, 1:length]
        assert [body.min(), body.max()] == expected[name]


def test_text_offsets_count_from_query_to_key():
    text = bias_indices(2, 6, "text")
    assert text[2, 4] == text[1, 3] == text[2, 2] + 2


@pytest.mark.parametrize(("query", "key"), [((0, 0), (1, 2)), ((2, 1), (1, 0))])
def test_patches_see_rows_and_columns_between_them(query, key):
    grid = 4
    image = bias_indices(grid, 3, "image")[1:, 1:].reshape(grid, grid, grid, grid)
    moved = image[query[0] + 1, query[1] + 1, key[0] + 1, key[1] + 1]
    assert image[*query, *key] == moved
    assert image[*query, *key] != image[*key, *query]


def test_a_pair_has_the_biases_of_its_parts():
    layer = RelativePositionBias(2, 3, heads=2, depth=3, name="layer")
    text, image, pair = (layer(modality=name) for name in ("text", "image", "pair"))
    assert len(pair) == 3
    for depth in range(3):
        assert pair[depth].shape == (1, 2, 8, 8)
        np.testing.assert_array_equal(pair[depth][..., :3, :3], text[depth])
        np.testing.assert_array_equal(pair[depth][..., 3:, 3:], image[depth])
        across = np.unique(pair[depth][0, 1, :3, 3:])
        assert across.size == 1
        row = layer.cross_table[0, depth * 2 + 1]
        np.testing.assert_array_equal(across[0], row)


def test_some_blocks_get_what_they_get_among_all():
    layer = RelativePositionBias(2, 3, heads=2, depth=4, name="layer")
    everything = layer(modality="pair")
    some = layer(modality="pair", blocks=range(1, 3))
    assert list(everything) == [0, 1, 2, 3]
    assert list(some) == [1, 2]
    for index, bias in some.items():
        np.testing.assert_array_equal(bias, everything[index])
    assert layer(modality="text", blocks=range(4, 4)) == {}
