import pytest

from tfx_pipeline.data.partitions import column_values, read_partitions, span_of


@pytest.mark.parametrize(
    ("path", "columns", "span"),
    [
        ("/d/log/split=train/p.csv", {"split": "train"}, None),
        ("/d/log/date=2024-01-31/language=zh-Hans/p", {"language": "zh-Hans"}, 20240131),
        ("s3://b/log/year=2024/month=1/day=9/p", {}, 20240109),
        ("/d/log/dt=20240131/hour=07/p", {"hour": "07"}, 20240131),
        ("/d/log/day=monday/p", {"day": "monday"}, None),
        ("/d/log/date=2024-13-01/p", {"date": "2024-13-01"}, None),
        ("/d/log/label_text=a%2Fb%20c/p", {"label_text": "a/b c"}, None),
        ("/d/log/split=__HIVE_DEFAULT_PARTITION__/p", {"split": None}, None),
        ("/split=train/shop/log/p.csv", {}, None),  # where somebody keeps the log
        ("/d/log/=x/p=1.csv", {}, None),
        ("p.csv", {}, None),
    ],
)
def test_folders_give_columns_and_dates(path, columns, span):
    assert column_values(path) == columns
    assert span_of(path) == span


def test_the_outermost_folder_comes_first():
    assert list(read_partitions("/log/b=1/a=2/p")) == ["b", "a"]
