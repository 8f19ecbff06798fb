import io
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from serving.images import upright_rgb
from tests.harness import run_signature, two_replicas
from tests.pictures import exif_data, saved
from vl_models.export import ZERO_SHOT_ASSET, export_members
from vl_models.models.registry import build_model, model_config_from_dict
from vl_models.text.clip_bpe import CLIPTokenizer
from vl_models.text.vocabulary import SPECIAL_TOKENS, read_vocabulary
from vl_models.text.wordpiece import WordPieceTokenizer
from vl_models.zero_shot import build_classifier
from vl_models.zero_shot_config import ZeroShotConfig

VOCABULARY = [*SPECIAL_TOKENS, "red", "cat", "猫"]
TOKENIZER = WordPieceTokenizer(VOCABULARY, max_length=6)
QUERIES = ["red cat", "", "猫 RED"]


def make_model(precision="float32", vocabulary_size=8, image_fit="crop"):
    tower = {"width": 8, "depth": 1, "heads": 1}
    return build_model(
        model_config_from_dict(
            {
                "system": "clip",
                "embedding_dim": 4,
                "image": {"kind": "vit", "patch_size": 8, **tower},
                "text": {"kind": "transformer", **tower},
                "image_size": 16,
                "image_fit": image_fit,
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
    return model, export_members(model, TOKENIZER, folder, experiment_yaml="a: 1\n")


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
    towers = export_members(model, TOKENIZER, tmp_path)
    check_text_tower(model, TOKENIZER, towers)
    pixels, encoded = images((16, 16))
    served = run_signature(towers["image_tower"], "encode_image", "image_bytes", encoded)
    np.testing.assert_allclose(served, model.encode_image({"image": np.stack(pixels)}), atol=1e-5)


def test_tokeniser_with_lookup_tables(tmp_path):
    tokenizer = CLIPTokenizer([("e", "d</w>")], max_length=6)
    model = make_model(vocabulary_size=tokenizer.vocabulary_size)
    check_text_tower(model, tokenizer, export_members(model, tokenizer, tmp_path))


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


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_jpeg_is_served_as_its_upright_picture(exported, orientation):
    _, towers = exported
    # Even greys of whole blocks: JPEG keeps them exactly.
    blocks = np.array([[0, 50, 100], [150, 200, 250]], np.uint8)
    picture = blocks.repeat(8, axis=0).repeat(8, axis=1)[..., np.newaxis].repeat(3, axis=2)
    turned = saved(Image.fromarray(picture), quality=100, exif=exif_data(orientation))
    upright = saved(upright_rgb(Image.open(io.BytesIO(turned))), "PNG")
    served = run_signature(
        towers["image_tower"],
        "encode_image",
        "image_bytes",
        [turned, upright, saved(Image.fromarray(picture), "PNG")],
    )
    np.testing.assert_allclose(served[0], served[1], atol=1e-5)
    assert (np.abs(served[2] - served[1]).max() > 1e-4) == (orientation > 1)


def test_padded_images_are_served_as_they_are_trained_on(tmp_path):
    model = make_model(image_fit="pad")
    towers = export_members(model, TOKENIZER, tmp_path)
    pixels, encoded = images((16, 10), (6, 16))
    expected = np.zeros((2, 16, 16, 3), np.uint8)
    for square, picture in zip(expected, pixels):
        square[: picture.shape[0], : picture.shape[1]] = picture
    served = run_signature(towers["image_tower"], "encode_image", "image_bytes", encoded)
    extent = np.array([[16, 10], [6, 16]], np.int32)
    batch = {"image": expected, "image_extent": extent}
    np.testing.assert_allclose(served, model.encode_image(batch), atol=1e-5)


def test_empty_batches(exported):
    _, towers = exported
    assert run_signature(towers["text_tower"], "encode_text", "query", []).shape == (0, 4)
    served = run_signature(towers["image_tower"], "encode_image", "image_bytes", [])
    assert served.shape == (0, 4)


def test_undecodable_image_is_an_invalid_argument(exported):
    _, towers = exported
    message = "an image is none of JPEG, PNG, GIF and BMP"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
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


def test_weights_have_the_dtype_that_is_computed_with(tmp_path):
    model = make_model("mixed_bfloat16")
    before = model.encode_text({**TOKENIZER.tokenize(tf.constant(QUERIES))})
    towers = export_members(model, TOKENIZER, tmp_path)
    variables = tf.saved_model.load(str(towers["text_tower"])).tower_variables
    dtypes = {variable.name: variable.dtype for variable in variables}
    # Normalisation computes in float32.
    assert {name for name, dtype in dtypes.items() if dtype != tf.bfloat16} == {
        f"text_encoder/{layer}/{weight}:0"
        for layer in ("block_0/attention_norm", "block_0/mlp_norm", "norm_after")
        for weight in ("gamma", "beta")
    }
    assert dtypes["text_encoder/token_embedding:0"] == tf.bfloat16
    served = run_signature(towers["text_tower"], "encode_text", "query", QUERIES)
    np.testing.assert_array_equal(served, before)
    assert all(variable.value.dtype == tf.float32 for variable in model.trainable_variables)


def test_nothing_but_the_towers_is_left_and_an_older_export_is_replaced(tmp_path):
    first, second = make_model(), make_model("mixed_bfloat16")
    for one, two in zip(first.variables, second.variables, strict=True):
        one.assign(two)
    for variable in first.text_projection.variables:
        variable.assign(-variable)
    export_members(first, TOKENIZER, tmp_path)
    towers = export_members(second, TOKENIZER, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["image_tower", "text_tower", "weights"]
    assert not (towers["text_tower"] / "assets.extra").exists()
    served = run_signature(towers["text_tower"], "encode_text", "query", QUERIES)
    expected = second.encode_text({**TOKENIZER.tokenize(tf.constant(QUERIES))})
    assert served.dtype == np.float32
    np.testing.assert_allclose(served, expected, atol=2e-2)
    old = first.encode_text({**TOKENIZER.tokenize(tf.constant(QUERIES))})
    np.testing.assert_allclose(served, -old, atol=0.05)


@pytest.fixture(scope="module")
def classified(tmp_path_factory):
    """A model, its classifier of three classes, and its towers."""
    model = make_model()
    classifier = build_classifier(model, TOKENIZER, ZeroShotConfig(top_k=2), ["cat", "red", "猫"])
    folder = tmp_path_factory.mktemp("classified")
    return model, classifier, export_members(model, TOKENIZER, folder, zero_shot=classifier)


def serve(folder, *calls):
    """Answers of (signature, input name, values, output name), by one session."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        signatures = tf.compat.v1.saved_model.loader.load(
            session, ["serve"], str(folder)
        ).signature_def
        return [
            session.run(
                signatures[name].outputs[output].name,
                {signatures[name].inputs[argument].name: np.asarray(values, dtype=object)},
            )
            for name, argument, values, output in calls
        ]


def classify(towers, *batches):
    """Classes and scores of each batch."""
    return serve(
        towers["image_tower"],
        *(
            ("classify_zero_shot", "image_bytes", encoded, output)
            for encoded in batches
            for output in ("classes", "scores")
        ),
    )


def test_session_loader_classifies_by_the_softmax_of_scaled_cosines(classified):
    model, classifier, towers = classified
    pixels, encoded = images((16, 16), (16, 16), (16, 16))
    classes, scores = classify(towers, encoded)
    cosines = model.encode_image({"image": np.stack(pixels)}).numpy() @ classifier.embeddings.T
    logits = cosines * float(model.temperature.scale())
    softmax = np.exp(logits - logits.max(axis=1, keepdims=True))
    softmax /= softmax.sum(axis=1, keepdims=True)
    order = np.argsort(-softmax, axis=1)[:, :2]
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, np.take_along_axis(softmax, order, axis=1), rtol=1e-4)
    names = np.array(["cat", "red", "猫"])[order].tolist()
    assert [[name.decode() for name in row] for row in classes] == names


def test_classification_does_not_depend_on_the_batch(classified):
    _, _, towers = classified
    _, encoded = images((40, 30), (16, 90), (8, 8))
    classes, scores, alone, alone_scores, *empty = classify(towers, encoded, encoded[1:2], [])
    assert alone.tolist() == classes[1:2].tolist()
    np.testing.assert_allclose(alone_scores, scores[1:2], rtol=1e-4)
    assert [answer.shape for answer in empty] == [(0, 2), (0, 2)]


def test_what_the_classes_are_made_of_travels_along(classified):
    _, classifier, towers = classified
    kept = json.loads((towers["image_tower"] / ZERO_SHOT_ASSET).read_text(encoding="utf-8"))
    assert kept == {
        "classes": ["cat", "red", "猫"],
        "templates": list(classifier.templates),
        "top_k": 2,
        "prefix": None,
        "scale": classifier.scale,
    }
    assert not (towers["text_tower"] / ZERO_SHOT_ASSET).exists()


def test_two_signatures_share_the_variables(classified, exported):
    sizes = []
    for towers in (classified[2], exported[1]):
        reader = tf.train.load_checkpoint(str(towers["image_tower"] / "variables/variables"))
        shapes = reader.get_variable_to_shape_map()
        sizes.append(sorted(tuple(shapes[n]) for n in shapes if n.startswith("tower_variables")))
    assert sizes[0] == sizes[1]


@pytest.fixture(scope="module")
def prefixed(tmp_path_factory):
    """A model with the text prefixes of two sources, and its towers."""
    tower = {"width": 8, "depth": 1, "heads": 1}
    config = {
        "system": "prefix_conditioning",
        "embedding_dim": 4,
        "image": {"kind": "vit", "patch_size": 8, **tower},
        "text": {"kind": "transformer", **tower},
        "image_size": 16,
        "max_length": 6,
        "vocabulary_size": 8,
        "sources": ["queries", "labels"],
        "test_prefix": "labels",
        "prefix_length": 2,
    }
    model = build_model(model_config_from_dict(config))
    # As large as token embeddings get: prefixes then matter to more than the last bits.
    model.prefix_embedding.set_weights(
        [
            np.random.default_rng(0).normal(size=w.shape)
            for w in model.prefix_embedding.get_weights()
        ]
    )
    classifier = build_classifier(
        model, TOKENIZER, ZeroShotConfig(prefix="queries", templates=["{}"]), ["cat", "red"]
    )
    folder = tmp_path_factory.mktemp("prefixed")
    return model, classifier, export_members(model, TOKENIZER, folder, zero_shot=classifier)


def test_every_prefix_has_its_signature(prefixed):
    model, classifier, towers = prefixed
    tokens = TOKENIZER.tokenize(tf.constant(QUERIES))
    names = ("encode_text", "encode_text_queries", "encode_text_labels")
    *answers, of_classes, empty = serve(
        towers["text_tower"],
        *((name, "query", QUERIES, "embedding") for name in names),
        ("encode_text_queries", "query", ["cat", "red"], "embedding"),
        ("encode_text_labels", "query", [], "embedding"),
    )
    served = dict(zip(names, answers))
    for source, name in enumerate(("encode_text_queries", "encode_text_labels")):
        expected = model.encode_text({**tokens, "source_id": tf.fill([3], source)})
        np.testing.assert_allclose(served[name], expected, atol=1e-5)
    # Without a choice it is the model's test prefix.
    np.testing.assert_allclose(served["encode_text"], served["encode_text_labels"], atol=1e-5)
    # More than what equal ones may differ by.
    assert np.abs(served["encode_text_queries"] - served["encode_text_labels"]).max() > 1e-4
    assert empty.shape == (0, 4)
    # The classes are encoded with the prefix that was asked for.
    np.testing.assert_allclose(classifier.embeddings, of_classes, atol=1e-5)


def test_attention_names_its_tokens(prefixed):
    model, _, towers = prefixed
    answers = serve(
        towers["text_tower"],
        *(
            (f"text_attention_{prefix}", "query", QUERIES, output)
            for prefix in ("queries", "labels")
            for output in ("tokens", "weights")
        ),
    )
    for source, prefix in enumerate(("queries", "labels")):
        tokens, weights = answers[2 * source : 2 * source + 2]
        assert [[token.decode() for token in row] for row in tokens] == [
            [f"[{prefix}]"] * 2 + ["[CLS]", "red", "cat", "[SEP]", "", ""],
            [f"[{prefix}]"] * 2 + ["[CLS]", "[SEP]", "", "", "", ""],
            [f"[{prefix}]"] * 2 + ["[CLS]", "猫", "red", "[SEP]", "", ""],
        ]
        batch = {**TOKENIZER.tokenize(tf.constant(QUERIES)), "source_id": tf.fill([3], source)}
        np.testing.assert_allclose(weights, model.text_attention(batch), atol=1e-5)
        np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
        assert np.all(weights[tokens == b""] < 1e-6)


def test_a_system_without_texts_has_an_image_tower_only(tmp_path):
    config = {
        "system": "moco",
        "embedding_dim": 4,
        "image": {"kind": "vit", "patch_size": 8, "width": 8, "depth": 1, "heads": 1},
        "image_size": 16,
        "queue_size": 8,
    }
    model = build_model(model_config_from_dict(config))
    towers = export_members(model, TOKENIZER, tmp_path)
    assert list(towers) == ["image_tower"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image_tower", "weights"]
    pixels, encoded = images((16, 16))
    served = run_signature(towers["image_tower"], "encode_image", "image_bytes", encoded)
    np.testing.assert_allclose(served, model.encode_image({"image": np.stack(pixels)}), atol=1e-5)
