import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.harness import run_signature
from tests.vl_models.grid_reranker import GridReranker, make_grid_reranker
from tests.vl_models.models.feature_batch import SIDES
from tests.vl_models.test_export import TOKENIZER, images, make_model
from vl_models.export import export_compositions, export_members
from vl_models.generation.generated import Generated
from vl_models.members import MEMBERS, ExportSource, members_of
from vl_models.models.clip import CLIP
from vl_models.models.registry import build_model, model_config_from_dict


class Captions(CLIP):
    """Says "red cat" of bright images and "cat" of dark ones, and scores by its cosine."""

    def generate(self, batch):
        bright = tf.reduce_mean(tf.cast(batch["image"], tf.float32), axis=[1, 2, 3]) > 127
        texts = tf.where(bright, "red cat", "cat")
        score = tf.where(bright, -1.0, -2.0)
        return Generated(TOKENIZER.tokenize(texts)["token_ids"], score)

    def score_pairs(self, batch):
        return tf.reduce_sum(self.encode_image(batch) * self.encode_text(batch), axis=-1)

    def tokenize_image(self, batch):
        return tf.cast(batch["image"][:, ::8, ::8, 0], tf.int32)


@pytest.fixture(scope="module")
def captions():
    model = Captions(make_model().config)
    model.build()
    return model


def call(folder, signature, **inputs):
    """Outputs of a signature by the session loader, as TF Serving loads."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(folder))
        definition = meta.signature_def[signature]
        assert set(definition.inputs) == set(inputs)
        feed = {definition.inputs[name].name: np.asarray(values) for name, values in inputs.items()}
        return session.run({key: out.name for key, out in definition.outputs.items()}, feed)


def test_capabilities_decide_which_members_there_are(captions):
    assert list(members_of(ExportSource.of(captions, TOKENIZER))) == [
        name for name in MEMBERS if name != "answerer"
    ]
    assert list(members_of(ExportSource.of(make_model(), TOKENIZER))) == [
        "text_tower",
        "image_tower",
    ]


def test_a_captioner_and_a_reranker_beside_the_towers(captions, tmp_path):
    folders = export_members(captions, TOKENIZER, tmp_path)
    white, black = np.full((16, 16, 3), 255, np.uint8), np.zeros((16, 16, 3), np.uint8)
    encoded = np.array([tf.io.encode_png(image).numpy() for image in (white, black)], object)
    for signature in ("caption", "serving_default"):
        answer = call(folders["captioner"], signature, image_bytes=encoded)
        assert answer["caption"].tolist() == [b"red cat", b"cat"]
        assert answer["score"].tolist() == [-1.0, -2.0]
    query = np.array(["red", "cat"], object)
    answer = call(folders["reranker"], "score", query=query, image_bytes=encoded)
    text = run_signature(folders["text_tower"], "encode_text", "query", query)
    image = run_signature(folders["image_tower"], "encode_image", "image_bytes", encoded)
    np.testing.assert_allclose(answer["score"], np.sum(text * image, axis=1), atol=1e-5)
    assert answer["score"].dtype == np.float32


def test_a_reranker_of_features_takes_both(tmp_path):
    class Scores(type(build_model(features_config()))):
        def score_pairs(self, batch):
            return tf.reduce_sum(self.encode_image(batch) * self.encode_text(batch), axis=-1)

    model = Scores(features_config())
    model.build()
    folders = export_members(model, None, tmp_path / "features")
    generator = np.random.default_rng(0)
    rows = {
        f"{side}_features": generator.normal(size=(3, SIDES[side]["width"])).astype(np.float32)
        for side in ("image", "text")
    }
    answer = call(folders["reranker"], "score", **rows)
    np.testing.assert_allclose(answer["score"], model.score_pairs(rows), atol=1e-5)


def features_config():
    return model_config_from_dict({"system": "acmr", "embedding_dim": 4, **SIDES})


def test_a_reranker_on_top_of_towers_takes_words_and_pixels(tmp_path):
    below = make_model()  # embeddings of 4 numbers
    side = {"kind": "features", "width": 4, "hidden_widths": [4]}
    config = model_config_from_dict(
        {"system": "acmr", "embedding_dim": 4, "image": side, "text": side, "num_labels": 3}
    )

    class Scores(type(build_model(config))):
        def score_pairs(self, batch):
            return tf.reduce_sum(self.encode_image(batch) * self.encode_text(batch), axis=-1)

    top = Scores(config)
    top.build()
    base = export_members(below, TOKENIZER, tmp_path / "below")
    folders = export_compositions(top, base, tmp_path / "top")
    pixels, encoded = images((16, 16), (16, 16))
    query = np.array(["red", "cat"], object)
    answer = call(folders["reranker"], "score", query=query, image_bytes=np.array(encoded, object))
    batch = {
        "image_features": below.encode_image({"image": np.stack(pixels)}),
        "text_features": below.encode_text({**TOKENIZER.tokenize(tf.constant(["red", "cat"]))}),
    }
    np.testing.assert_allclose(answer["score"], top.score_pairs(batch), atol=1e-5)


def test_a_model_that_can_do_nothing_is_refused(tmp_path):
    class Nothing:
        inputs = ()
        layers = (keras.layers.Dense(1),)

    with pytest.raises(ValueError, match=r"can do nothing that is served.*model=Nothing"):
        export_members(Nothing(), None, tmp_path)


def test_an_image_is_read_once_and_scored_with_many_texts(tmp_path):
    folders = export_members(make_grid_reranker(), TOKENIZER, tmp_path)
    assert list(folders) == ["reranker"]
    pixels, encoded = images((16, 16), (16, 16), (16, 16))
    tokens = call(
        folders["reranker"], "encode_image_tokens", image_bytes=np.array(encoded, object)
    )["tokens"]
    assert (tokens.shape, tokens.dtype) == ((3, 4, 3), np.float16)
    quarters = np.stack(pixels).reshape(3, 2, 8, 2, 8, 3).mean((2, 4)).reshape(3, 4, 3) / 255
    np.testing.assert_allclose(tokens, quarters, atol=1e-3)
    query = np.array(["red", "cat", "猫"], object)
    scores = call(folders["reranker"], "score_tokens", query=query, tokens=tokens)["score"]
    ids = TOKENIZER.tokenize(tf.constant(query.tolist()))["token_ids"].numpy()[:, 1]
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(scores, tokens[np.arange(3), 0, ids % 3].astype(np.float32))
    of_bytes = call(
        folders["reranker"], "score", query=query, image_bytes=np.array(encoded, object)
    )["score"]
    np.testing.assert_allclose(scores, of_bytes, atol=1e-3)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ([90, 92], r"at most 8,192 numbers.* Received: 90 tokens x 92 = 8,280 numbers"),
        ([None, 3], r"same T and W for all images\. Received: shape=\(None, None, 3\)"),
        ([3], r"Image tokens are \[B, T, W\] .* Received: shape=\(None, 3\)"),
    ],
)
def test_image_tokens_of_a_size_that_a_gallery_cannot_have(shape, message):
    class Wide(GridReranker):
        def encode_image_tokens(self, batch):
            rows = tf.shape(batch["image"])[:1]
            sizes = [rows if size is None else [size] for size in shape]
            return tf.zeros(tf.concat([rows, *sizes], axis=0))

    source = ExportSource.of(make_grid_reranker(Wide), TOKENIZER)
    with pytest.raises(ValueError, match=message):
        MEMBERS["reranker"].signatures(source)


@pytest.mark.parametrize(("kind", "images"), [("vqa", 1), ("nlvr2", 2)])
def test_an_answerer_gives_the_best_answers(kind, images, tmp_path):
    config = model_config_from_dict(
        {
            "system": "vilt",
            "image_size": 16,
            "patch_size": 8,
            "width": 8,
            "depth": 1,
            "heads": 1,
            "max_length": 6,
            "vocabulary_size": TOKENIZER.vocabulary_size,
            "mask_id": 0,
            "tasks": [{"kind": kind}],
            "answers": ["no", "yes", "左边"],
        }
    )
    model = build_model(config)
    folder = export_members(model, TOKENIZER, tmp_path)["answerer"]
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 16, 16, 3)).astype(np.uint8)
    pixels = pixels[:images]
    query = np.array(["red", "cat", "red cat"], object)
    encoded = [np.array([tf.io.encode_png(p).numpy() for p in side], object) for side in pixels]
    names = ("image_bytes", "image_2_bytes")
    answer = call(folder, "answer", query=query, **dict(zip(names, encoded)))
    batch = {**TOKENIZER.tokenize(query), **dict(zip(("image", "image_2"), pixels))}
    scores = model.answer(batch).numpy()
    order = np.argsort(-scores, axis=1)
    np.testing.assert_allclose(answer["scores"], np.take_along_axis(scores, order, 1), atol=1e-5)
    expected = np.array(["no", "yes", "左边"])[order].tolist()
    assert [[text.decode() for text in row] for row in answer["answers"]] == expected
