import numpy as np
import pytest

from vl_models.metrics.captions import caption_recall


def test_golden_toy(golden):
    toy = golden["recall_toy"]
    recalls = caption_recall(np.array(toy["S"]), toy["cap2img"], ks=[1, 2])
    assert recalls["recall@1/image_to_text"] == toy["i2t_R@1"]
    assert recalls["recall@1"] == toy["t2i_R@1"]
    assert recalls["recall@2"] == 1.0  # R@N
    assert recalls["rsum"] == 1.0 + 0.5 + 1.0 + 1.0


def test_first_captions_only():
    # Only the third caption of image 0 finds it; VSE++ would not have kept that one.
    similarity = np.array([[0.1, 0.2, 0.9, 0.3], [0.5, 0.6, 0.0, 0.8]])
    every = caption_recall(similarity, [0, 0, 0, 1], ks=[1])
    first = caption_recall(similarity, [0, 0, 0, 1], ks=[1], captions_per_image=2)
    assert every["recall@1/image_to_text"] == 1.0
    assert first["recall@1/image_to_text"] == 0.5
    assert first["recall@1"] == pytest.approx(1 / 3)


def test_folds_are_averages_over_runs_of_images():
    generator = np.random.default_rng(0)
    similarity = generator.normal(size=(6, 12))
    caption_image = np.repeat(np.arange(6), 2)
    folded = caption_recall(similarity, caption_image, ks=[1], folds=2)
    first = caption_recall(similarity[:3, :6], caption_image[:6], ks=[1])
    second = caption_recall(similarity[3:, 6:], caption_image[6:] - 3, ks=[1])
    for key in folded:
        assert folded[key] == pytest.approx((first[key] + second[key]) / 2)


def test_uneven_folds():
    with pytest.raises(ValueError, match="Received: images=6, folds=4"):
        caption_recall(np.zeros((6, 6)), np.arange(6), folds=4)
