"""`input.sources` and `input.sampling` of an experiment."""

import pytest

from tests.tfx_pipeline.conftest import REPOSITORY
from tfx_pipeline.config import ExperimentConfig
from vl_models.errors import UserError
from vl_models.input.config import SourceConfig

EMOJI = REPOSITORY / "configs" / "emoji.yaml"


def load(sources):
    return ExperimentConfig.load(EMOJI, [f"input.sources={sources}"])


def test_the_default_is_one_source_of_the_queries():
    options = ExperimentConfig.load(EMOJI).input
    assert options.sampling == "debiased" and options.label_templates == []
    [source] = options.sources
    assert source == SourceConfig(name="queries", texts="queries", share=1.0, use_labels=False)
    assert source.image_draw_power == 0.0 and source.weak_weight == 1.0


def test_only_rows_whose_text_names_the_class_are_labelled_unless_asked():
    sources = load(
        "[{name: a}, {name: b, texts: labels}, {name: c, use_labels: true}, "
        "{name: d, texts: labels, use_labels: false}]"
    ).input.sources
    assert [source.use_labels for source in sources] == [False, True, True, False]


def test_templates_of_all_label_sources_are_known_once_in_order():
    config = load(
        "[{name: a}, {name: b, texts: labels, templates: ['a {}', '{}的图片']}, "
        "{name: c, texts: labels, templates: ['the {}', 'a {}']}]"
    )
    assert config.input.label_templates == ["a {}", "{}的图片", "the {}"]
    assert ExperimentConfig.from_yaml(config.to_yaml()) == config


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (
            "[{name: a}, {name: b}, {name: a}]",
            "Received: [{'name': 'a'}, {'name': 'b'}, {'name': 'a'}]. names of sources must "
            "differ; repeated: a.",
        ),
        (
            "[]",
            "Key 'input.sources' has a wrong value. Received: []. at least one source is needed.",
        ),
        (
            "[{nam: a}]",
            "Unknown key 'input.sources.0.nam'; did you mean 'input.sources.0.name'? Valid keys "
            "here: image_draw_power, name, rows, share, similar_images, templates, texts, "
            "use_labels, weak_weight.",
        ),
        (
            "[{name: a, share: 0}]",
            "Key 'input.sources.0.share' has a wrong value. Received: 0. Allowed: greater than 0.",
        ),
        ("[{name: A b}]", "Key 'input.sources.0.name' has a wrong value. Received: 'A b'."),
        (
            "[{name: a, texts: labels, templates: [a picture]}]",
            "Key 'input.sources.0.templates' has a wrong value. Received: ['a picture']. a "
            "template needs '{}' exactly once; 'a picture' has not.",
        ),
        ("[{name: a, texts: labels, templates: ['{} {}']}]", "exactly once; '{} {}' has not."),
        ("[{name: a, templates: ['a {}']}]", "templates are for texts: labels."),
        (
            "[{name: a, texts: labels, weak_weight: 0.5}]",
            "Key 'input.sources.0' has a wrong value. Received: {'name': 'a', 'texts': 'labels', "
            "'weak_weight': 0.5}. weak_weight is for texts: queries.",
        ),
        ("[{name: a, image_draw_power: -1}]", "Allowed: greater than or equal to 0."),
    ],
)
def test_wrong_sources_are_explained(sources, message):
    with pytest.raises(UserError) as caught:
        load(sources)
    assert str(caught.value).startswith(f"{EMOJI}: ")
    assert str(caught.value).endswith(message) or message in str(caught.value)


def test_sampling_is_one_of_three_words():
    with pytest.raises(UserError) as caught:
        ExperimentConfig.load(EMOJI, ["input.sampling=both"])
    assert str(caught.value) == (
        f"{EMOJI}: Key 'input.sampling' has a wrong value. Received: 'both'. Allowed: 'debiased', "
        "'mixed' or 'round_robin'."
    )
