import numpy as np
import pytest

from tfx_pipeline.evaluation.caption_scores import bleu_4, cider

pytest.importorskip("pycocoevalcap", reason="install vlsearch[captions]")

REFERENCES = [
    ["a red shoe on grass"],
    ["two black cats sleep here"],
    ["一只黑色的猫在跑", "黑猫跑步中"],
]


def test_what_people_said_is_best_and_what_nobody_said_is_nothing():
    exact = [texts[0] for texts in REFERENCES]
    scores = cider(REFERENCES, exact)
    np.testing.assert_allclose(scores[:2], 10.0, rtol=1e-6)  # n-grams of all four lengths agree
    assert 3.0 < scores[2] < 10.0  # the mean over its references
    assert bleu_4(REFERENCES, exact) == pytest.approx(1.0)
    nothing = cider(REFERENCES, ["green", "", "狗"])
    np.testing.assert_array_equal(nothing, [0.0, 0.0, 0.0])
    assert bleu_4(REFERENCES, ["green", "", "狗"]) == 0.0


def test_cider_in_closed_form():
    """One word of two that match: the cosine of tf-idf vectors, and of word pairs nothing."""
    references = [["red cat"], ["blue dog"], ["green bird"]]
    found = cider(references, ["red dog", "blue dog", "green bird"])[0]
    # All words have the same idf: the cosine of one common word of two is 1 / 2, of four lengths
    # of n-grams one counts.
    np.testing.assert_allclose(found, 10.0 * (1 / 2) / 4, rtol=1e-6)


def test_chinese_is_compared_by_character():
    references = [["红色的鞋"], ["蓝色的帽子"], ["大象"]]
    close, far = (
        cider(references, ["红色的帽", "蓝色的帽子", "大象"]),
        cider(references, ["鞋", "x", "x"]),
    )
    assert 0.0 < far[0] < close[0] < 10.0
    assert bleu_4([["红色的鞋子"]], ["红色的鞋子"]) == pytest.approx(1.0)
