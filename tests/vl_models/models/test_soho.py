import numpy as np
import pytest
import tensorflow as tf

from tests.harness import check_replicas, check_variables
from tests.vl_models.fusion_systems import CNN, gradients_of, make_batch, make_fusion
from vl_models.errors import UserError
from vl_models.models.capabilities import EncodesImages, ScoresImageTokens, ScoresPairs
from vl_models.models.registry import model_config_from_dict

SMALL = {"image": CNN, "pool": 1, "dictionary": {"size": 12, "decay": 0.4}, "depth": 1}
RESNET = {"kind": "resnet", "blocks": [1, 1], "width": 4}
ALWAYS = [{"kind": "mlm", "tied": True}, {"kind": "mvm", "probability": 1.0}, {"kind": "itm"}]


def soho(**changes):
    return make_fusion("soho", **{**SMALL, **changes})


def two_texts(rows=4, seed=0):
    """A batch with two texts an image, image-major."""
    batch, other = make_batch(rows, seed), make_batch(rows, seed + 1)
    for key in ("token_ids", "text_mask", "token_continuation"):
        both = tf.stack([batch[key], other[key]], axis=1)
        batch[key] = tf.reshape(both, [2 * rows, -1])
    batch["query_hash"] = tf.range(100, 100 + 2 * rows, dtype=tf.int64)
    return batch


@pytest.mark.parametrize(
    "changes",
    [
        {"tasks": ALWAYS},
        {"tasks": ALWAYS, "image": RESNET, "pool": 2, "mix": "plain", "exact_sentences": False},
    ],
    ids=["cnn", "resnet"],
)
def test_variables_and_replicas(changes):
    model, batch = soho(**changes), two_texts()
    assert model.loss_names == ("mlm", "mvm", "itm")
    assert isinstance(model, ScoresPairs) and not isinstance(model, EncodesImages)
    check_variables(model, batch)
    check_replicas(lambda: soho(**changes), batch)


def test_exactly_two_of_four_sentences_are_true():
    batch = two_texts(6)
    outputs = soho().forward(batch, training=False)
    labels = outputs["pass_labels"].numpy().reshape(4, 6)
    np.testing.assert_array_equal(labels.sum(axis=0), [2.0] * 6)
    ids = outputs["pass_word_ids"].numpy().reshape(4, 6, -1)
    own = batch["token_ids"].numpy().reshape(6, 2, -1)
    np.testing.assert_array_equal(ids[:2].transpose(1, 0, 2), own)
    for row in range(6):
        others = ids[2:, row]
        assert not (others[:, None] == own[row]).all(-1).any()
        assert not np.array_equal(*others)


def test_in_expectation_two_of_four_are_true():
    batch = two_texts(200)
    outputs = soho(exact_sentences=False).forward(batch, training=False)
    true = outputs["pass_labels"].numpy().reshape(4, 200).sum(axis=0)
    assert abs(true.mean() - 2.0) < 0.15 and len(set(true)) > 3


def test_cells_with_the_code_of_one_place_are_hidden_and_no_others():
    model, batch = soho(tasks=ALWAYS), two_texts()
    model.forward(batch, training=True)  # codes that are used
    outputs = model.forward(batch, training=False)
    hidden = outputs["pass_cells"].numpy().reshape(4, 4, 16)
    codes = outputs["pass_codes"].numpy().reshape(4, 4, 16)
    places = []
    for sentence in range(4):
        for row in range(4):
            of_hidden = set(codes[sentence, row][hidden[sentence, row]].tolist())
            assert len(of_hidden) == 1
            np.testing.assert_array_equal(
                hidden[sentence, row], codes[sentence, row] == of_hidden.pop()
            )
            places.append(set(np.flatnonzero(hidden[sentence, row]).tolist()))
    assert set.intersection(*places)  # one place for all


def test_cells_are_hidden_with_the_probability_of_the_task():
    tasks = [{"kind": "mvm", "probability": 0.25}, {"kind": "itm"}]
    batch = two_texts(100)
    outputs = soho(tasks=tasks).forward(batch, training=False)
    share = outputs["pass_cells"].numpy().any(axis=1).mean()
    assert abs(share - 0.25) < 0.07


def test_the_loss_of_hidden_cells_lies_between_its_bounds():
    model, batch = soho(tasks=ALWAYS), two_texts()
    loss = float(model.losses(batch, model.forward(batch, training=False))["mvm"])
    others = 11
    assert np.log(1 + others * np.exp(-2)) <= loss <= np.log(1 + others * np.exp(2))
    published = [np.log(1 + 2047 * np.exp(bound)) for bound in (-2, 2)]
    np.testing.assert_allclose(published, [5.628, 9.624], atol=1e-3)
    never = soho(tasks=[{"kind": "mvm", "probability": 0.0}, {"kind": "itm"}])
    assert float(never.losses(batch, never.forward(batch, training=False))["mvm"]) == 0.0


def test_words_and_cells_of_true_sentences_alone_are_guessed_unless_all_are_asked_for():
    batch = two_texts()
    few, every = soho(tasks=ALWAYS), soho(tasks=ALWAYS, positives_only=False)
    for new, old in zip(every.variables, few.variables, strict=True):
        new.assign(old)
    outputs = few.forward(batch, training=False)
    np.testing.assert_array_equal(outputs["pass_positive"], outputs["pass_labels"])
    losses = [model.losses(batch, model.forward(batch, training=False)) for model in (few, every)]
    np.testing.assert_allclose(losses[0]["itm"], losses[1]["itm"], rtol=1e-6)
    assert abs(losses[0]["mlm"] - losses[1]["mlm"]) > 1e-4


def test_words_are_predicted_by_their_embeddings():
    model, batch = soho(), two_texts()
    outputs = model.forward(batch, training=False)
    words = outputs["pass_words"].numpy()
    hidden = outputs["pass_text"].numpy()[words] @ model.text_embedding.token_embedding.numpy().T
    log = hidden - np.log(np.exp(hidden).sum(1, keepdims=True))
    wanted = outputs["pass_word_ids"].numpy()[words]
    rows = np.broadcast_to(outputs["pass_positive"].numpy()[:, None], words.shape)[words]
    expected = -(rows * log[np.arange(len(wanted)), wanted]).sum() / rows.sum()
    np.testing.assert_allclose(model.losses(batch, outputs)["mlm"], expected, rtol=1e-5)


def test_codes_move_in_training_alone_and_gradients_pass_through():
    model, batch = soho(tasks=ALWAYS), two_texts()
    codebook = model.dictionary.codebook
    before = codebook.codes.numpy().copy()
    model.forward(batch, training=False)
    np.testing.assert_array_equal(codebook.codes.numpy(), before)
    found = gradients_of(model, batch, "itm")
    assert not np.array_equal(codebook.codes.numpy(), before)
    assert np.any(found["image_encoder/stem/kernel"])
    assert not any("codebook" in path for path in found)
    assert {"codebook/perplexity", "codebook/used_share"} <= model.scalars().keys()


def test_pictures_of_other_shapes_are_read_without_their_margin():
    model = soho(image=RESNET, image_fit="pad", pool=1, tasks=ALWAYS)
    batch = two_texts()
    batch["image_extent"] = tf.constant([[32, 32], [16, 32], [32, 9], [20, 24]])
    garbage = batch["image"].numpy().copy()
    for row, (height, width) in enumerate(batch["image_extent"].numpy()):
        garbage[row, height:], garbage[row, :, width:] = 7, 200
    other = {**batch, "image": tf.constant(garbage)}
    first = {key: value[::2] for key, value in batch.items() if key.startswith("t")}
    one, two = (model.score_pairs({**values, **first}) for values in (batch, other))
    np.testing.assert_allclose(one, two, atol=1e-5)
    mask = model.encode(batch, training=False)["image_embedded_mask"].numpy().reshape(4, 4, 4)
    np.testing.assert_array_equal(mask[0], np.ones((4, 4), bool))
    np.testing.assert_array_equal(mask.sum((1, 2)), [16, 2 * 4, 4 * 2, 3 * 3])
    outputs = model.forward(batch, training=False)
    valid = np.tile(mask.reshape(4, 16), (4, 1))
    assert not (outputs["pass_cells"].numpy() & ~valid).any()
    assert outputs["pass_cells"].numpy().any(axis=1).all()  # the place is within every picture


def test_without_a_dictionary_cells_are_read_as_they_are():
    model = soho(dictionary=None, tasks=[{"kind": "vqa"}], answers=["no", "yes"])
    assert not any("dictionary" in variable.path for variable in model.variables)
    assert model.answer(make_batch()).shape == (4, 2)
    with pytest.raises(UserError, match="mvm guesses entries of the dictionary"):
        model_config_from_dict({"system": "soho", "dictionary": None})


def test_words_are_grounded_in_all_cells():
    tasks = [{"kind": "grounding"}, {"kind": "itm"}]
    model, batch = soho(tasks=tasks), two_texts()
    losses = model.losses(batch, model.forward(batch, training=True))
    assert set(losses) == {"grounding", "itm"} and np.isfinite(losses["grounding"])
    with pytest.raises(UserError, match="grounding reads the whole grid"):
        model_config_from_dict({"system": "soho", **SMALL, "tasks": tasks, "image_fit": "pad"})


@pytest.mark.parametrize("kind", ["vqa", "nlvr2", "snli_ve", "retrieval"])
def test_heads_read_the_first_token(kind):
    batch = make_batch()
    batch |= {"answer": tf.constant([[0.0, 1.0]] * 4), "image_2": 255 - batch["image"]}
    model = soho(tasks=[{"kind": kind}], answers=["no", "yes"])
    losses = model.losses(batch, model.forward(batch, training=True))
    assert set(losses) == {kind} and np.isfinite(losses[kind])


def test_an_index_may_keep_the_cells():
    model, batch = soho(tasks=[{"kind": "itm", "store_tokens": True}]), make_batch()
    assert isinstance(model, ScoresImageTokens)
    tokens = model.encode_image_tokens({"image": batch["image"]})
    np.testing.assert_allclose(
        model.score_tokens(batch, tokens), model.score_pairs(batch), atol=1e-5
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"true_sentences": 4}, "true_sentences is below sentences"),
        ({"image": {"kind": "vit"}}, "kind cnn or resnet"),
        ({"image_size": 60}, "image_size must be a multiple"),
        ({"tasks": [{"kind": "itc"}]}, "the system has no task itc"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        model_config_from_dict({"system": "soho", **SMALL, **changes})
