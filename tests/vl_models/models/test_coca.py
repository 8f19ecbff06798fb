import numpy as np
import pytest
import tensorflow as tf

from tests.harness import run_model_test
from tests.vl_models.fusion_systems import gradients_of
from tests.vl_models.test_members import call
from tests.vl_models.tiny_systems import TOKENIZER, make_batch, make_config
from vl_models.errors import UserError
from vl_models.export import export_members
from vl_models.models.capabilities import ClassifiesImages, Generates
from vl_models.models.registry import build_model

TEXT = {"width": 16, "depth": 2, "heads": 2}
SMALL = {"queries": 3, "pooler_heads": 2, "text": TEXT}
CNN = {"kind": "cnn", "widths": [8, 16], "blocks": [1, 1]}


def coca(**changes):
    return build_model(make_config("coca", **{**SMALL, **changes}))


def shaken(model, seed=0):
    """With biases and norms that are not at their start, so that nothing cancels."""
    random = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        variable.assign_add(random.normal(scale=0.1, size=variable.shape))
    return model


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "image": CNN,
            "pooling": "encoder",
            "tie_logits": True,
            "captioned_texts": 1,
            "multimodal_depth": 1,
            "text": {**TEXT, "dropout": 0.1, "pooling": "mean"},
        },
    ],
    ids=["as_published", "for_small_encoders"],
)
def test_coca_satisfies_the_model_contract(changes, tmp_path):
    batch = make_batch(texts_per_image=2)
    seeds = np.random.default_rng(0).integers(0, 2**31 - 1, (4, 2))
    batch["seed"] = tf.constant(seeds, tf.int32)
    run_model_test(lambda: coca(**changes), batch, dim=8, tokenizer=TOKENIZER, folder=tmp_path)
    assert isinstance(coca(**changes), Generates)


def test_words_do_not_see_what_follows_and_the_class_token_sees_all():
    model, batch = shaken(coca()), make_batch(rows=1)
    ids = np.array([[2, 5, 6, 7, 8, 9, 10, 3]])
    batch |= {"token_ids": tf.constant(ids, tf.int32), "text_mask": tf.ones([1, 8], tf.bool)}
    before = model.forward(batch, training=False)
    for place in range(1, 8):
        changed = ids.copy()
        changed[0, place] = 5 if ids[0, place] != 5 else 6
        after = model.forward({**batch, "token_ids": tf.constant(changed, tf.int32)}, False)
        apart = np.abs(after["caption_logits"] - before["caption_logits"]).max(axis=2)[0]
        np.testing.assert_allclose(apart[:place], 0.0, atol=1e-6)
        assert (apart[place:] > 1e-4).all()
        assert np.abs(after["text_embedding"] - before["text_embedding"]).max() > 1e-4


def test_padding_changes_nothing_whatever_it_holds_and_however_much_there_is():
    model, batch = shaken(coca()), make_batch()
    garbage = tf.where(batch["text_mask"], batch["token_ids"], 9)
    np.testing.assert_allclose(
        model.encode_text({**batch, "token_ids": garbage}), model.encode_text(batch), atol=1e-6
    )
    longer = coca(max_length=11)
    for variable, old in zip(longer.variables, model.variables, strict=True):
        value = old.numpy()
        if variable.path == "text_encoder/positions":  # the class token's is the last
            value = np.concatenate([value[:-1], np.ones([3, 16]), value[-1:]])
        variable.assign(value)
    padded = {
        "token_ids": tf.pad(batch["token_ids"], [[0, 0], [0, 3]]),
        "text_mask": tf.pad(batch["text_mask"], [[0, 0], [0, 3]]),
    }
    np.testing.assert_allclose(longer.encode_text(padded), model.encode_text(batch), atol=1e-6)


def test_an_image_that_gives_no_values_is_not_in_the_captions_but_in_the_contrast():
    model, batch = shaken(coca()), make_batch()
    for block in model.decoder.cross_blocks:
        attention = block.attention.key_value
        attention.kernel.assign(np.concatenate([attention.kernel[:, :16], np.zeros([16, 16])], 1))
    other = {**batch, "image": 255 - batch["image"]}
    one, two = (model.forward(values, training=False) for values in (batch, other))
    np.testing.assert_allclose(one["caption_logits"], two["caption_logits"], atol=1e-6)
    losses = [
        float(model.losses(values, outputs)["contrastive"])
        for values, outputs in ((batch, one), (other, two))
    ]
    assert abs(losses[0] - losses[1]) > 1e-4


@pytest.mark.parametrize("pooling", ["cascade", "parallel"])
def test_each_loss_trains_its_own_parts(pooling):
    model, batch = coca(pooling=pooling), make_batch()

    def reached(loss):
        found = gradients_of(model, batch, loss)
        return {
            path for path, gradient in found.items() if gradient is not None and np.any(gradient)
        }

    contrast, captions = reached("contrastive"), reached("captioning")
    assert not any(path.startswith("decoder/") for path in contrast)
    assert not any(path.startswith("image_pooling/contrastive_pooler/") for path in captions)
    generative = "image_pooling/pooler/query_vectors"
    assert generative in captions
    assert (generative in contrast) == (pooling == "cascade")
    assert not any("class_vector" in path and "text" in path for path in captions)
    assert "text_encoder/class_vector" in contrast


def test_losses_of_even_words_and_of_padding():
    model, batch = coca(), make_batch()
    model.decoder.vocabulary.kernel.assign(tf.zeros_like(model.decoder.vocabulary.kernel))
    loss = model.losses(batch, model.forward(batch, training=False))["captioning"]
    np.testing.assert_allclose(loss, 2.0 * np.log(11), rtol=1e-6)
    nothing = {**batch, "text_mask": tf.zeros_like(batch["text_mask"])}
    assert model.losses(nothing, model.forward(nothing, training=False))["captioning"] == 0.0


def test_weights_of_losses_and_the_number_of_captioned_texts():
    batch = make_batch(texts_per_image=2)
    model = coca(captioning_weight=1.0, contrastive_weight=3.0)
    outputs = model.forward(batch, training=False)
    assert outputs["caption_logits"].shape == (8, 7, 11)
    other = coca(captioned_texts=1)
    for new, old in zip(other.variables, model.variables, strict=True):
        new.assign(old)
    few = other.forward(batch, training=False)
    np.testing.assert_allclose(few["caption_logits"], outputs["caption_logits"][::2], atol=1e-6)
    one, two = model.losses(batch, outputs), other.losses(batch, few)
    np.testing.assert_allclose(one["contrastive"], 3.0 * two["contrastive"], rtol=1e-6)


@pytest.mark.parametrize("method", ["greedy", "beam"])
def test_the_served_captioner_writes_what_one_writes_word_by_word(method, tmp_path):
    caption = {"method": method, "beams": 3, "min_length": 2, "no_repeat_ngram": 2}
    model = shaken(coca(caption=caption))
    images = make_batch(rows=3)["image"].numpy()
    folder = export_members(model, TOKENIZER, tmp_path)["captioner"]
    encoded = np.array([tf.io.encode_png(image).numpy() for image in images], object)
    answer = call(folder, "caption", image_bytes=encoded)
    cached = model.generate({"image": tf.constant(images)})
    texts = TOKENIZER.detokenize(cached.token_ids).numpy().tolist()
    assert answer["caption"].tolist() == texts
    np.testing.assert_allclose(answer["score"], cached.score, rtol=1e-4)
    whole = model.generate({"image": tf.constant(images)}, use_cache=False)
    np.testing.assert_array_equal(whole.token_ids, cached.token_ids)
    np.testing.assert_allclose(whole.score, cached.score, rtol=1e-5)
    if method == "beam":  # the search itself is tested with a language of its own
        return
    for row, image in enumerate(images):
        text, total = [2], 0.0
        while len(text) < 8 and (len(text) == 1 or text[-1] != 3):
            ids = np.array([text + [0] * (8 - len(text))])
            batch = {"image": image[None], "token_ids": tf.constant(ids, tf.int32)}
            batch["text_mask"] = tf.range(8)[None] < len(text)
            logits = model.forward(batch, False)["caption_logits"][0, len(text) - 1].numpy()
            log = logits - np.log(np.exp(logits).sum())
            pairs = {tuple(text[i : i + 2]) for i in range(1, len(text) - 1)}
            allowed = [
                token
                for token in (3, *range(5, 11))
                if (token != 3 or len(text) > 2)
                and (len(text) == 1 or (text[-1], token) not in pairs)
            ]
            token = max(allowed, key=lambda one: log[one])
            text, total = [*text, token], total + log[token]
        expected = text + [0] * (8 - len(text))
        assert cached.token_ids[row].numpy().tolist() == expected
        np.testing.assert_allclose(cached.score[row], total / (len(text) - 1), rtol=1e-4)


def test_a_classifier_of_its_own_learns_classes_of_images(tmp_path):
    config = make_config(
        "coca",
        **SMALL,
        tasks=[{"kind": "image_classifier", "heads": 2}],
        num_labels=3,
        classes=["shoe", "hat", "猫"],
    )
    model, batch = build_model(config), make_batch()
    assert isinstance(model, ClassifiesImages) and not isinstance(coca(), ClassifiesImages)
    batch["label"] = tf.constant([[1, 0, 0], [0, 1, 1], [0, 0, 0], [0, 0, 1]], tf.float32)
    outputs = model.forward(batch, training=True)
    log = tf.nn.log_softmax(outputs["class_logits"]).numpy()
    expected = -(log[0, 0] + 0.5 * (log[1, 1] + log[1, 2]) + log[3, 2]) / 3
    np.testing.assert_allclose(
        model.losses(batch, outputs)["image_classifier"], expected, rtol=1e-5
    )
    folder = export_members(model, TOKENIZER, tmp_path)["image_tower"]
    encoded = np.array([tf.io.encode_png(image).numpy() for image in batch["image"]], object)
    answer = call(folder, "classify", image_bytes=encoded)
    order = np.argsort(-model.classify_image(batch), axis=1)
    names = np.array(["shoe", "hat", "猫"])[order].tolist()
    assert [[name.decode() for name in row] for row in answer["classes"]] == names
    np.testing.assert_allclose(answer["scores"].sum(axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pooler_heads": 3}, "text.width must be a multiple of pooler_heads"),
        ({"pooling": "single", "queries": 1}, "queries of 2 or more"),
        ({"image": {"kind": "features", "width": 4}}, "features have none"),
        ({"shared_projection": True}, "shared_projection is for towers"),
        ({"text": {"kind": "transformer"}}, "Allowed: 'unimodal_decoder'"),
        ({"caption": {"length_penalty": -1}}, "caption.length_penalty"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        make_config("coca", **{**SMALL, **changes})
