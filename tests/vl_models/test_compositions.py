import numpy as np
import pytest
import tensorflow as tf

from tests.harness import run_signature
from tests.vl_models.test_export import QUERIES, TOKENIZER, images, make_model, serve
from vl_models.export import export_compositions, export_members
from vl_models.models.registry import build_model, model_config_from_dict
from vl_models.text.clip_bpe import CLIPTokenizer

WIDTH = 4  # of what make_model's towers give


def make_top(system="ucal", width=WIDTH, **changes):
    side = {"kind": "features", "width": width, "hidden_widths": [6]}
    values = {"system": system, "image": side, "text": side, **changes}
    return build_model(model_config_from_dict(values))


@pytest.mark.parametrize(
    "tokenizer", [TOKENIZER, CLIPTokenizer([("e", "d</w>")], max_length=6)], ids=["words", "bytes"]
)
def test_the_session_loader_serves_both_models_in_one(tokenizer, tmp_path):
    below = make_model(vocabulary_size=tokenizer.vocabulary_size)
    base = export_members(below, tokenizer, tmp_path / "below")
    top = make_top()
    towers = export_compositions(top, base, tmp_path / "top", experiment_yaml="a: 1\n")

    features = below.encode_text({**tokenizer.tokenize(tf.constant(QUERIES))})
    expected = top.encode_text({"text_features": features})
    for signature in ("encode_text", "serving_default"):
        served = run_signature(towers["text_tower"], signature, "query", QUERIES)
        np.testing.assert_allclose(served, expected, atol=1e-5)

    pixels, encoded = images((16, 16), (16, 16))
    features = below.encode_image({"image": np.stack(pixels)})
    served = run_signature(towers["image_tower"], "encode_image", "image_bytes", encoded)
    np.testing.assert_allclose(served, top.encode_image({"image_features": features}), atol=1e-5)
    assert (towers["text_tower"] / "assets.extra/experiment.yaml").read_text() == "a: 1\n"


def test_a_composition_outlives_the_towers_it_was_made_of(tmp_path):
    below = make_model()
    base = export_members(below, TOKENIZER, tmp_path / "below")
    top = make_top()
    towers = export_compositions(top, base, tmp_path / "top")
    for tower in base.values():
        tower.rename(tower.with_name(f"{tower.name}.gone"))
    loaded = tf.saved_model.load(str(towers["text_tower"]))
    served = loaded.signatures["encode_text"](query=tf.constant(QUERIES))["embedding"]
    features = below.encode_text({**TOKENIZER.tokenize(tf.constant(QUERIES))})
    np.testing.assert_allclose(served, top.encode_text({"text_features": features}), atol=1e-5)


def test_hash_codes_of_words_and_pixels(tmp_path):
    below = make_model()
    base = export_members(below, TOKENIZER, tmp_path / "below")
    top = make_top("ssah", num_labels=3, embedding_dim=16)
    towers = export_compositions(top, base, tmp_path / "top")
    ((codes),) = serve(towers["text_tower"], ("hash_text", "query", QUERIES, "code"))
    features = below.encode_text({**TOKENIZER.tokenize(tf.constant(QUERIES))})
    np.testing.assert_array_equal(codes, top.hash_text({"text_features": features}))
    assert codes.shape == (len(QUERIES), 2)


def test_widths_must_fit(tmp_path):
    base = export_members(make_model(), TOKENIZER, tmp_path / "below")
    with pytest.raises(ValueError, match="give embeddings of 4 numbers, the model's features have"):
        export_compositions(make_top(width=5), base, tmp_path / "top")
