import numpy as np
import pytest
import tensorflow as tf

from tests.harness import run_signature, two_replicas
from vl_models.export import export_towers
from vl_models.models.registry import build_model, model_config_from_dict
from vl_models.text.clip_bpe import CLIPTokenizer
from vl_models.text.vocabulary import SPECIAL_TOKENS, read_vocabulary
from vl_models.text.wordpiece import WordPieceTokenizer

VOCABULARY = [*SPECIAL_TOKENS, "red", "cat", "猫"]
TOKENIZER = WordPieceTokenizer(VOCABULARY, max_length=6)
QUERIES = ["red cat", "", "猫 RED"]


def make_model(precision="float32", vocabulary_size=8):
    tower = {"width": 8, "depth": 1, "heads": 1}
    return build_model(
        model_config_from_dict(
            {
                "system": "clip",
                "embedding_dim": 4,
                "image": {"kind": "vit", "patch_size": 8, **tower},
                "text": {"kind": "transformer", **tower},
                "image_size": 16,
                "max_length": 6,
                "vocabulary_size": vocabulary_size,
                "precision": precision,
            }
        )
    )


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    model = make_model()
    folder = tmp_path_factory.mktemp("export")
    return model, export_towers(model, TOKENIZER, folder, experiment_yaml="a: 1\n")


def check_text_tower(model, tokenizer, towers):
    served = run_signature(towers["text_tower"], "encode_text", "query", QUERIES)
    expected = model.encode_text({**tokenizer.tokenize(tf.constant(QUERIES))})
    np.testing.assert_allclose(served, expected, atol=1e-5)


def images(*shapes):
    random = np.random.default_rng(0)
    pixels = [random.integers(0, 256, (*shape, 3)).astype(np.uint8) for shape in shapes]
    return pixels, [tf.io.encode_png(image).numpy() for image in pixels]


def test_model_of_two_replicas(tmp_path):
    with two_replicas().scope():
        model = make_model()
    towers = export_towers(model, TOKENIZER, tmp_path)
    check_text_tower(model, TOKENIZER, towers)
    pixels, encoded = images((16, 16))
    served = run_signature(towers["image_tower"], "encode_image", "image_bytes", encoded)
    np.testing.assert_allclose(served, model.encode_image({"image": np.stack(pixels)}), atol=1e-5)


def test_tokeniser_with_lookup_tables(tmp_path):
    tokenizer = CLIPTokenizer([("e", "d</w>")], max_length=6)
    model = make_model(vocabulary_size=tokenizer.vocabulary_size)
    check_text_tower(model, tokenizer, export_towers(model, tokenizer, tmp_path))


@pytest.mark.parametrize("signature", ["encode_text", "serving_default"])
def test_session_loader_serves_the_models_text_embeddings(exported, signature):
    model, towers = exported
    served = run_signature(towers["text_tower"], signature, "query", QUERIES)
    expected = model.encode_text({**TOKENIZER.tokenize(tf.constant(QUERIES))})
    assert served.dtype == np.float32
    np.testing.assert_allclose(served, expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(served, axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("signature", ["encode_image", "serving_default"])
def test_session_loader_serves_the_models_image_embeddings(exported, signature):
    model, towers = exported
    pixels, encoded = images((16, 16), (16, 16))
    served = run_signature(towers["image_tower"], signature, "image_bytes", encoded)
    np.testing.assert_allclose(served, model.encode_image({"image": np.stack(pixels)}), atol=1e-5)


def test_images_of_any_size_and_format_in_one_batch(exported):
    _, towers = exported
    pixels, encoded = images((40, 30), (16, 90), (8, 8))
    encoded.append(tf.io.encode_jpeg(pixels[0]).numpy())
    served = run_signature(towers["image_tower"], "encode_image", "image_bytes", encoded)
    np.testing.assert_allclose(np.linalg.norm(served, axis=1), np.ones(4), atol=1e-5)
    alone = run_signature(towers["image_tower"], "encode_image", "image_bytes", encoded[1:2])
    np.testing.assert_allclose(served[1:2], alone, atol=1e-5)


def test_empty_batches(exported):
    _, towers = exported
    assert run_signature(towers["text_tower"], "encode_text", "query", []).shape == (0, 4)
    served = run_signature(towers["image_tower"], "encode_image", "image_bytes", [])
    assert served.shape == (0, 4)


def test_undecodable_image_is_an_invalid_argument(exported):
    _, towers = exported
    with pytest.raises(tf.errors.InvalidArgumentError):
        run_signature(towers["image_tower"], "encode_image", "image_bytes", [b"no image"])


def test_object_loader_gives_the_same(exported):
    model, towers = exported
    signature = tf.saved_model.load(str(towers["text_tower"])).signatures["encode_text"]
    served = signature(query=tf.constant(QUERIES))["embedding"]
    expected = model.encode_text({**TOKENIZER.tokenize(tf.constant(QUERIES))})
    np.testing.assert_allclose(served, expected, atol=1e-5)


def test_configuration_and_vocabulary_travel_along(exported):
    _, towers = exported
    assert read_vocabulary(towers["text_tower"] / "assets/vocabulary.txt") == VOCABULARY
    for folder in towers.values():
        assert (folder / "assets.extra/experiment.yaml").read_text() == "a: 1\n"


def test_a_tower_holds_its_own_variables_only(exported):
    model, towers = exported
    reader = tf.train.load_checkpoint(str(towers["text_tower"] / "variables/variables"))
    sizes = [
        int(np.prod(shape))
        for name, shape in reader.get_variable_to_shape_map().items()
        if name.startswith("tower_variables")
    ]
    layers = (model.text_encoder, model.text_projection)
    assert sum(sizes) == sum(layer.count_params() for layer in layers)


def test_nothing_but_the_towers_is_left_and_an_older_export_is_replaced(tmp_path):
    first, second = make_model(), make_model("mixed_bfloat16")
    export_towers(first, TOKENIZER, tmp_path)
    towers = export_towers(second, TOKENIZER, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image_tower", "text_tower"]
    assert not (towers["text_tower"] / "assets.extra").exists()
    served = run_signature(towers["text_tower"], "encode_text", "query", QUERIES)
    expected = second.encode_text({**TOKENIZER.tokenize(tf.constant(QUERIES))})
    assert served.dtype == np.float32
    np.testing.assert_allclose(served, expected, atol=2e-2)
    old = first.encode_text({**TOKENIZER.tokenize(tf.constant(QUERIES))})
    assert np.abs(served - old).max() > 2e-2
