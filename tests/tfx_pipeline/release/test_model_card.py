from tfx_pipeline.release.model_card import render_model_card


def test_the_card_names_version_data_and_configuration():
    card = render_model_card(
        name="emoji",
        version=3,
        models=["reranker", "own"],
        experiment="train: {steps: 7}\n",
        spans=[5, 9],
    )
    assert card.startswith("# emoji, version 3\n")
    assert "- `reranker`, which reads a query and an image together" in card and "- `own`;" in card
    assert "spans 5 to 9 of the click log" in card
    assert "```yaml\ntrain: {steps: 7}\n```" in card


def test_a_log_without_spans_is_all_files():
    card = render_model_card(name="a", version=1, models=[], experiment="", spans=[])
    assert "all files of the click log" in card
