import numpy as np
import pytest

from serving.errors import ServingError
from serving.query_parts import MOST_PARTS, QueryPart, checked_parts, weighted_sum


def test_a_sum_of_unit_vectors_by_weight_is_one_itself():
    one, other = np.eye(2, 4, dtype=np.float32)
    np.testing.assert_allclose(weighted_sum(np.stack([one, other]), [3, -4]), [0.6, -0.8, 0, 0])
    np.testing.assert_allclose(weighted_sum(one[None], [1e-6]), one)
    np.testing.assert_allclose(weighted_sum(np.stack([one, other]), [1e6, 1e6])[:2], [0.5**0.5] * 2)


def test_parts_that_cancel_each_other():
    one = np.eye(1, 4, dtype=np.float32)
    with pytest.raises(ServingError, match="cancel each other"):
        weighted_sum(np.concatenate([one, one]), [1, -1])
    with pytest.raises(ServingError, match="cancel each other"):
        weighted_sum(np.concatenate([one, one, -one]), [2, -1, 1.00001])


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"text": "a", "id": "b"},
        {"text": " "},
        {"id": "a", "weight": 0},
        {"id": "a", "weight": float("nan")},
        {"id": "a", "weight": True},
        {"id": "a", "weight": 1e7},
    ],
)
def test_what_is_no_part(given):
    with pytest.raises(ServingError):
        QueryPart(**given)


def test_how_many_parts_there_may_be():
    assert len(checked_parts([QueryPart(text="a")] * MOST_PARTS)) == MOST_PARTS
    for wrong in (0, MOST_PARTS + 1):
        with pytest.raises(ServingError, match=rf"1 to {MOST_PARTS} parts\. Received: {wrong}"):
            checked_parts([QueryPart(text="a")] * wrong)
