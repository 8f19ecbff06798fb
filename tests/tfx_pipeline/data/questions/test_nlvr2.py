from tfx_pipeline.data.contract import Reason
from tfx_pipeline.data.questions.nlvr2 import read_nlvr2


def test_sentences_about_two_images(lines):
    file = lines(
        "dev.json",
        [
            {"sentence": "Two dogs.", "identifier": "dev-850-0-0", "label": "True"},
            "",
            {"sentence": "一只狗。", "identifier": "dev-850-0-1", "label": False},
        ],
    )
    first, second = read_nlvr2([file])
    assert first.images == second.images == (("dev-850-0-img0",), ("dev-850-0-img1",))
    assert [first.answers, second.answers] == [(("true", 1.0),), (("false", 1.0),)]
    assert (second.text, second.key, second.row) == ("一只狗。", "dev-850-0-1", 3)


def test_faulty_lines(lines):
    file = lines(
        "dev.json",
        [
            '{"sentence": ',
            "[]",
            '{"sentence": "a", "sentence": "b", "identifier": "dev-1-0-0", "label": "True"}',
            {"identifier": "dev-1-0-0", "label": "True"},
            {"sentence": "a", "label": "True"},
            {"sentence": "a", "identifier": "dev-1-0-0", "label": "maybe"},
        ],
    )
    rejected = list(read_nlvr2([file]))
    assert [(one.row, one.reason) for one in rejected] == [
        (1, Reason.MALFORMED_ROW),
        (2, Reason.MALFORMED_ROW),
        (3, Reason.MALFORMED_ROW),
        (4, Reason.MISSING_QUERY),
        (5, Reason.MISSING_IMAGE_ID),
        (6, Reason.MISSING_ANSWER),
    ]
    assert rejected[-1].message == "label must be True or False. Received: 'maybe'"
