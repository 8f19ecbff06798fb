import pytest

from tfx_pipeline.data.stats import count_rows, merge_stats, new_stats
from vl_models.errors import UserError


def test_rows_are_summed_over_files():
    several = [new_stats(), new_stats()]
    count_rows(several[0], "a.csv", 5, 3, 2)
    count_rows(several[1], "b.csv", 1, 1, 0)
    total = merge_stats(several)
    assert total["log"] == {"read": 6, "accepted": 4, "rejected": 2}
    assert total["rows"] == total["counters"]["rows"] == 6


def test_rows_that_are_lost_are_an_error():
    with pytest.raises(UserError) as error:
        count_rows(new_stats(), "a.csv", 400, 120, 1)
    assert str(error.value) == (
        "a.csv: 400 rows were read, but 120 accepted and 1 rejected. This is a defect of "
        "vlsearch: report it with the form of the file."
    )
