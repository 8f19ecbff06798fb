import numpy as np
import pytest

from vl_models.metrics.modality_gap import modality_gap


def test_closed_forms():
    east, north = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    assert modality_gap(east, -east) == 2.0
    assert modality_gap(east, north) == pytest.approx(2**0.5)
    both = np.concatenate([east, north])
    assert modality_gap(both, both[::-1]) == 0.0
    assert modality_gap(both, np.repeat(east, 5, axis=0)) == pytest.approx(0.5**0.5)


def test_rotation_of_the_space_changes_nothing():
    generator = np.random.default_rng(0)
    images, texts = generator.normal(size=(2, 20, 6))
    rotation = np.linalg.qr(generator.normal(size=(6, 6)))[0]
    gap = modality_gap(images, texts)
    assert modality_gap(images @ rotation, texts @ rotation) == pytest.approx(gap)
