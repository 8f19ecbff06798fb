import numpy as np
import pytest

from tfx_pipeline.evaluation.separability import modality_classifier_accuracy, modality_silhouette


def cloud(seed, shift, rows=400):
    points = np.random.default_rng(seed).normal(size=(rows, 8)) + shift
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def test_two_clouds_are_told_apart_and_one_is_not():
    apart = cloud(0, 2.0), cloud(1, -2.0)
    assert modality_classifier_accuracy(*apart, seed=0) > 0.99
    assert modality_silhouette(*apart, seed=0) > 0.5
    mixed = cloud(0, 0.0), cloud(1, 0.0)
    assert modality_classifier_accuracy(*mixed, seed=0) == pytest.approx(0.5, abs=0.06)
    assert modality_silhouette(*mixed, seed=0) == pytest.approx(0.0, abs=0.02)


def test_modalities_of_unequal_size_count_alike():
    accuracy = modality_classifier_accuracy(cloud(0, 0.0, 1500), cloud(1, 0.0, 60), seed=0)
    assert accuracy == pytest.approx(0.5, abs=0.12)


def test_one_row_of_a_modality_says_nothing():
    assert np.isnan(modality_classifier_accuracy(cloud(0, 0.0), cloud(1, 0.0, 1), seed=0))
    assert np.isnan(modality_silhouette(cloud(0, 0.0), cloud(1, 0.0, 1), seed=0))
