import numpy as np
import pytest

from vl_models.metrics.judgements import Judgements


def test_pairs_are_sorted_and_merged():
    judgements = Judgements.from_pairs(
        query=[2, 0, 2, 2, 0],
        item=[1, 5, 1, 0, 3],
        num_queries=4,
        gain=[2.0, 1.0, 3.0, 4.0, 5.0],
        counted=[True, True, True, False, False],
    )
    np.testing.assert_array_equal(judgements.query, [0, 0, 2, 2])
    np.testing.assert_array_equal(judgements.item, [3, 5, 0, 1])
    np.testing.assert_array_equal(judgements.counted, [False, True, False, True])
    assert judgements.gain[3] == 5.0


def test_a_pair_in_the_evaluated_and_another_split_counts_with_the_evaluated_gain():
    judgements = Judgements.from_pairs([0, 0], [7, 7], 1, gain=[2.0, 9.0], counted=[True, False])
    assert judgements.counted.tolist() == [True]
    assert judgements.gain.tolist() == [2.0]


def test_query_row_out_of_range():
    with pytest.raises(ValueError, match=r"lie in \[0, 3\)\. Received: query=0\.\.3"):
        Judgements.from_pairs([0, 3], [0, 0], 3)
