import numpy as np
import pytest
import tensorflow as tf

from tests.harness import run_model_test
from tests.vl_models.tiny_systems import TINY, TOKENIZER, copy_weights, make_batch, make_config
from vl_models.encoders.text_transformer import TextTransformer
from vl_models.errors import UserError
from vl_models.losses.contrastive import contrastive_logits, symmetric_contrastive_loss
from vl_models.models.registry import build_model

SOURCES = ("queries", "labels")


def make_model(**changes):
    return build_model(make_config("prefix_conditioning", sources=SOURCES, **changes))


def of_source(batch, source):
    return batch | {"source_id": tf.fill(tf.shape(batch["source_id"]), source)}


@pytest.mark.parametrize(
    "text",
    [{}, {"causal": True, "pooling": "eot"}],
    ids=["mean", "causal_eot"],
)
def test_prefix_conditioning_satisfies_the_model_contract(text, tmp_path):
    changes = {"text": {**TINY["text"], **text}, "prefix_length": 2}
    batch = make_batch(texts_per_image=2)
    run_model_test(
        lambda: make_model(**changes), batch, dim=8, tokenizer=TOKENIZER, folder=tmp_path
    )


def test_prefix_changes_the_text_and_not_the_image():
    model = make_model()
    batch = make_batch()
    texts = [model.encode_text(of_source(batch, source)) for source in (0, 1)]
    assert not np.array_equal(*texts)
    images = [model.encode_image(of_source(batch, source)) for source in (0, 1)]
    np.testing.assert_array_equal(*images)


def test_each_text_gets_the_prefix_of_its_row():
    model = make_model()
    batch = make_batch(texts_per_image=2)  # rows of source 0, 1, 0, 1
    mixed = model.encode_text(batch)
    pure = [model.encode_text(of_source(batch, source)) for source in (0, 1)]
    for text in range(8):
        np.testing.assert_allclose(mixed[text], pure[text // 2 % 2][text], atol=1e-5)


def test_unused_prefix_has_exactly_no_gradient_in_a_source_pure_batch():
    model = make_model()
    batch = of_source(make_batch(), 1)
    table = model.prefix_embedding.table.value
    with tf.GradientTape() as tape:
        loss = model.losses(batch, model.forward(batch, True))["contrastive"]
    gradient = tf.convert_to_tensor(tape.gradient(loss, table))
    np.testing.assert_array_equal(gradient[0], np.zeros_like(gradient[0]))
    assert np.abs(gradient[1]).max() > 0


def test_a_prefix_is_a_token_before_the_others():
    # The unconditioned encoder, one longer, given the prefix as the vector of one more token.
    model = make_model(text={**TINY["text"], "causal": True, "pooling": "eot"})
    plain = TextTransformer(
        TINY["vocabulary_size"] + 1, width=16, depth=2, heads=2, causal=True, pooling="eot",
        name="text_encoder",
    )  # fmt: skip
    batch = make_batch()
    ids = tf.pad(batch["token_ids"], [[0, 0], [1, 0]], constant_values=TINY["vocabulary_size"])
    mask = tf.pad(batch["text_mask"], [[0, 0], [1, 0]], constant_values=True)
    plain(ids, mask)
    table = model.text_encoder.token_embedding
    values = {variable.path: variable.numpy() for variable in model.text_encoder.variables}
    values[table.path] = np.concatenate([table, model.prefix_embedding.table[1]])
    for variable in plain.variables:
        variable.assign(values[variable.path])
    expected = model.text_projection(plain(ids, mask)["pooled"])
    np.testing.assert_allclose(model.encode_text(of_source(batch, 1)), expected, atol=1e-5)


@pytest.mark.parametrize(("test_prefix", "source"), [(None, 0), ("labels", 1)])
def test_test_prefix_stands_where_no_source_is_given(test_prefix, source):
    model = make_model(test_prefix=test_prefix)
    batch = make_batch()
    expected = model.encode_text(of_source(batch, source))
    batch.pop("source_id")
    np.testing.assert_array_equal(model.encode_text(batch), expected)


def test_attention_of_the_pooled_text_is_over_prefix_and_tokens():
    batch = make_batch() | {"text_mask": tf.sequence_mask([3, 8, 5, 4], 8)}
    for pooling in ("mean", "eot", "cls"):
        model = make_model(text={**TINY["text"], "pooling": pooling}, prefix_length=2)
        attention = model.text_attention(batch).numpy()
        assert attention.shape == (4, 2 + 8)
        np.testing.assert_allclose(attention.sum(axis=1), 1.0, rtol=1e-5)
        np.testing.assert_allclose(attention[0, 2 + 3 :], 0.0)


def test_labels_count_only_in_the_loss_of_unicl():
    unicl, clip = make_model(), make_model(loss="clip")
    copy_weights(unicl, clip)
    batch = make_batch() | {"label_id": tf.constant([0, 0, 0, 0])}
    plain = batch | {"label_id": tf.fill([4], -1)}

    def loss(model, batch):
        return float(model.losses(batch, model.forward(batch, True))["contrastive"])

    outputs = unicl.forward(batch, True)
    logits = contrastive_logits(
        outputs["image_embedding"], outputs["text_embedding"], unicl.logit_scale()
    )
    of_one_class = symmetric_contrastive_loss(logits, tf.ones([4, 4], tf.bool))
    np.testing.assert_allclose(loss(unicl, batch), of_one_class, rtol=1e-6)
    assert loss(clip, batch) == loss(clip, plain)


def test_unknown_test_prefix_names_the_nearest_source():
    with pytest.raises(
        UserError, match=r"one of the sources queries, labels; did you mean 'labels'"
    ):
        make_model(test_prefix="label")


def test_sources_must_be_known():
    with pytest.raises(ValueError, match="sources=None"):
        build_model(make_config("prefix_conditioning"))
