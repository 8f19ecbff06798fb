import numpy as np
import pytest

from vl_models.metrics.in_batch import in_batch_recall

OWN = np.repeat(np.eye(3, dtype=bool), 2, axis=1)  # three images with two texts each


def test_perfect_and_constant_scores_are_the_extremes():
    perfect = in_batch_recall(OWN.astype(np.float32), OWN, OWN)
    assert perfect == {"recall@1": 1.0, "recall@1/image_to_text": 1.0}
    # An embedding that says nothing ties with everything, and ties count against it.
    constant = in_batch_recall(np.zeros((3, 6), np.float32), OWN, OWN)
    assert constant == {"recall@1": 0.0, "recall@1/image_to_text": 0.0}
    assert in_batch_recall(np.zeros((3, 6), np.float32), OWN, OWN, k=5)["recall@5"] == 1.0


def test_directions_differ_and_are_shares_of_pairs():
    scores = OWN.astype(np.float32)
    scores[1, 0] = 2.0  # text 0 finds image 1; image 1 finds text 0 before its own two
    assert in_batch_recall(scores, OWN, OWN) == pytest.approx(
        {"recall@1": 5 / 6, "recall@1/image_to_text": 4 / 6}
    )


def test_another_known_positive_is_no_negative():
    scores = OWN.astype(np.float32)
    scores[1, 0] = 2.0
    known = OWN.copy()
    known[1, 0] = True
    assert in_batch_recall(scores, OWN, known) == {"recall@1": 1.0, "recall@1/image_to_text": 1.0}
