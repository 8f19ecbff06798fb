import pytest

from tfx_pipeline.data.writers import make_example, record_writer
from tfx_pipeline.training.text_lengths import check_text_lengths
from vl_models import features
from vl_models.errors import UserError
from vl_models.text.vocabulary import SPECIAL_TOKENS
from vl_models.text.wordpiece import WordPieceTokenizer

TOKENS = [*SPECIAL_TOKENS, "a", "b", "c", "d"]


@pytest.fixture
def examples(tmp_path):
    """Texts of one to four tokens in two shards, and one without text."""
    for shard, texts in enumerate([["a", "a b"], ["a b c", "a b c d", "c d"], []]):
        path = tmp_path / "Split-train" / f"data_tfrecord-0000{shard}-of-00003.gz"
        with record_writer(str(path)) as writer:
            example = make_example({features.QUERY_TEXT: [text.encode() for text in texts]})
            writer.write(example.SerializeToString())
    return tmp_path


def test_texts_that_are_cut_are_counted(examples, caplog):
    tokenizer = WordPieceTokenizer(TOKENS, max_length=4)  # two tokens between start and end
    check_text_lengths(tokenizer, examples, None)
    message = (
        "2 of 5 train texts (40.0%) are cut by model.max_length=4, e.g. 'a b c'. Raise it if their "
        "ends matter."
    )
    assert [record.getMessage() for record in caplog.records] == [message]
    check_text_lengths(tokenizer, examples, 0.4)
    with pytest.raises(UserError) as error:
        check_text_lengths(tokenizer, examples, 0.39)
    assert str(error.value) == (
        f"{message} (data.checks.max_cut_fraction is 0.39; null lets the run go on with a warning.)"
    )
    assert tokenizer.max_length == 4


def test_texts_that_fit_are_not_mentioned(examples, caplog):
    check_text_lengths(WordPieceTokenizer(TOKENS, max_length=6), examples, 0)
    assert caplog.records == []


def test_no_texts_are_no_share(tmp_path, caplog):
    check_text_lengths(WordPieceTokenizer(TOKENS, max_length=3), tmp_path, 0)
    assert caplog.records == []
