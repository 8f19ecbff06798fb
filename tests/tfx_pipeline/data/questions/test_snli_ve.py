from tfx_pipeline.data.contract import Reason
from tfx_pipeline.data.questions.snli_ve import read_snli_ve


def test_hypotheses(lines):
    file = lines(
        "snli_ve_dev.jsonl",
        [
            {
                "Flickr30K_ID": "4937",
                "sentence2": "A man.",
                "gold_label": "neutral",
                "pairID": "p#1",
            },
            {"image": "a.jpg", "sentence2": "一个人。", "gold_label": "entailment"},
        ],
    )
    first, second = read_snli_ve([file])
    assert (first.key, first.text, first.images) == ("p#1", "A man.", (("4937",),))
    assert first.answers == (("neutral", 1.0),)
    assert (second.key, second.images) == ("snli_ve_dev.jsonl#2", (("a.jpg",),))


def test_rows_without_agreement_and_faulty_ones(lines):
    file = lines(
        "dev.jsonl",
        [
            {"image": "a.jpg", "sentence2": "x", "gold_label": "-"},
            {"image": "a.jpg", "sentence2": "x", "gold_label": "yes"},
            {"image": "a.jpg", "gold_label": "neutral"},
            {"sentence2": "x", "gold_label": "neutral"},
        ],
    )
    assert [one.reason for one in read_snli_ve([file])] == [
        Reason.NO_AGREEMENT,
        Reason.MISSING_ANSWER,
        Reason.MISSING_QUERY,
        Reason.MISSING_IMAGE_ID,
    ]
