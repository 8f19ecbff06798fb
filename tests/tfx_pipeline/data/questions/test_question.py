import pytest

from tfx_pipeline.data.questions.question import split_of_file
from vl_models.errors import UserError


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("v2_OpenEnded_mscoco_train2014_questions.json", "train"),
        ("v2_mscoco_val2014_annotations.json", "val"),
        ("dev.json", "val"),
        ("test1.json", "test"),
        ("snli_ve_train.jsonl", "train"),
        ("train/pairs.json", "train"),
        ("train/dev.json", "val"),
        ("constrained_valid.json", "val"),
    ],
)
def test_the_name_tells_the_split(name, split):
    assert split_of_file(name) == split


def test_a_name_without_a_split():
    with pytest.raises(UserError, match=r"^latest/pairs\.json: the name tells no split"):
        split_of_file("latest/pairs.json")
