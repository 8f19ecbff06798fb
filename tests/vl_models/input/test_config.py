"""The section `input`, and that it costs nothing to import."""

import subprocess
import sys

import numpy as np
import pydantic
import pytest

from tests.tfx_pipeline.conftest import REPOSITORY
from vl_models.errors import UserError
from vl_models.input.config import (
    DataFacts,
    FeatureStatistics,
    InputConfig,
    InputFacts,
    SourceConfig,
    SourceSpec,
)
from vl_models.models.registry import model_config_from_dict

HEAVY = ("tensorflow", "keras", "numpy", "tfx")


def test_importing_it_imports_neither_tensorflow_nor_numpy():
    code = (
        "import sys, vl_models.input.config as config; config.InputConfig(); "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_names_and_the_source_of_queries_follow_the_order():
    config = InputConfig(sources=[{"name": "a", "texts": "labels"}, {"name": "b"}])
    assert config.source_names == ("a", "b") and config.query_source == 1
    assert InputConfig().query_source == 0


@pytest.mark.parametrize("scale", [(0.0, 1.0), (0.8, 0.5), (0.5, 1.5)])
def test_a_scale_is_two_shares_in_order(scale):
    with pytest.raises(pydantic.ValidationError, match="crop_scale is two shares"):
        InputConfig(crop_scale=scale)


def statistics(width):
    return FeatureStatistics(np.zeros(width), np.ones(width))


def test_a_model_takes_the_facts_that_it_knows():
    facts = DataFacts(vocabulary_size=50, sources=("a", "b"), classes=("x", "y"))
    clip = model_config_from_dict({"system": "clip"}).completed(facts)
    assert (clip.vocabulary_size, clip.num_labels) == (50, None)  # it learns nothing from labels
    prefixes = model_config_from_dict({"system": "prefix_conditioning"}).completed(facts)
    assert prefixes.sources == ("a", "b")
    features = {"image_features": statistics(6), "text_features": statistics(5)}
    facts = DataFacts(features=features, classes=("x", "y"), text_classes=("z",))
    acmr = model_config_from_dict({"system": "acmr"}).completed(facts)
    assert (acmr.image.width, acmr.text.width) == (6, 5)
    assert (acmr.num_labels, acmr.num_text_labels, acmr.vocabulary_size) == (2, 1, None)


def test_facts_are_validated():
    with pytest.raises(pydantic.ValidationError, match="vocabulary_size"):
        model_config_from_dict({"system": "clip"}).completed(DataFacts(vocabulary_size=0))


@pytest.mark.parametrize(
    ("values", "fit", "bounds"),
    [
        ({}, "crop", (0.9, 1.0)),
        ({}, "pad", (1.0, 1.0)),
        ({"crop_scale": (0.5, 0.8)}, "crop", (0.5, 0.8)),
        ({"crop_scale": (0.5, 0.8)}, "pad", (0.5, 0.8)),
        ({"augment": False}, "crop", (1.0, 1.0)),
        ({"augmentation": "moco_v2"}, "crop", (1.0, 1.0)),
    ],
)
def test_serving_shows_the_mean_share_of_training(values, fit, bounds):
    config = InputConfig(**values)
    assert config.crop_bounds(fit) == bounds
    assert config.crop_share(fit) == sum(bounds) / 2


def test_the_trainer_sets_the_served_share_unless_the_model_has_its_own():
    facts = DataFacts(vocabulary_size=50, mean_crop_share=0.95)
    model = model_config_from_dict({"system": "clip"})
    assert model.served_crop_share == 1.0
    assert model.completed(facts).served_crop_share == 0.95
    own = model_config_from_dict({"system": "clip", "crop_share": 0.875})
    assert own.completed(facts).served_crop_share == 0.875


def test_the_click_graph_needs_clicked_queries():
    facts = InputFacts(data=DataFacts(vocabulary_size=5, images=10))
    with pytest.raises(UserError) as caught:
        SourceSpec(SourceConfig(name="a"), InputConfig(max_clicked_queries=0), facts)
    assert str(caught.value) == (
        "Source 'a': positives: graph needs max_clicked_queries of 1 or more."
    )
