import numpy as np
import pytest
import tensorflow as tf

from tests.harness import check_replicas, check_variables
from vl_models.errors import UserError
from vl_models.export import export_members
from vl_models.models import capabilities
from vl_models.models.registry import build_model, model_config_from_dict

TINY = {
    "system": "image_tokenizer",
    "image_size": 16,
    "image": {"kind": "cnn", "widths": [8, 8], "blocks": [0, 1]},
    "codebook": {"size": 6, "dim": 4},
}


def make_model(**changes):
    return build_model(model_config_from_dict({**TINY, **changes}))


def make_batch(rows=4, seed=7):
    random = np.random.default_rng(seed)
    return {
        "image": tf.constant(random.integers(0, 256, (rows, 16, 16, 3)), tf.uint8),
        "seed": tf.constant(random.integers(0, 1000, (rows, 2)), tf.int32),
    }


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.mark.gpu
def test_replicas_agree():
    check_replicas(make_model, make_batch())


def test_it_reads_images_alone_and_tells_what_it_can():
    model = make_model()
    assert model.inputs == ("image",) and model.loss_names == ("reconstruction", "commitment")
    assert isinstance(model, capabilities.TokenizesImages)
    assert isinstance(model, capabilities.ReconstructsImages)
    assert not isinstance(model, capabilities.EncodesImages)
    check_variables(model, make_batch())
    assert {v.path.split("/")[0] for v in model.trainable_variables} == {
        "image_encoder",
        "code_projection",
        "image_decoder",
    }


def test_losses_are_mean_squares_of_pixels_and_of_vectors(model):
    batch = make_batch()
    outputs = model.forward(batch, training=False)
    assert outputs["reconstruction"].shape == (4, 16, 16, 3)
    assert outputs["image_code"].shape == (4, 2, 2) and outputs["image_code"].dtype == tf.int32
    losses = model.losses(batch, outputs)
    pixels = batch["image"].numpy() / 127.5 - 1.0
    expected = np.mean((outputs["reconstruction"].numpy() - pixels) ** 2)
    np.testing.assert_allclose(losses["reconstruction"], expected, rtol=1e-5)
    codes = model.quantizer.codebook.codes.numpy()[outputs["image_code"].numpy()]
    distance = np.mean((outputs["image_latent"].numpy() - codes) ** 2)
    np.testing.assert_allclose(losses["commitment"], 0.25 * distance, rtol=1e-4)
    pixels -= pixels.mean(axis=0)
    collapsed = model.collapsed_losses(batch, outputs)
    np.testing.assert_allclose(collapsed["reconstruction"], np.mean(pixels**2), rtol=1e-5)


def test_a_perfect_reconstruction_loses_nothing(model):
    batch = make_batch()
    pixels = tf.cast(batch["image"], tf.float32) / 127.5 - 1.0
    outputs = {**model.forward(batch, training=False), "reconstruction": pixels}
    np.testing.assert_allclose(model.losses(batch, outputs)["reconstruction"], 0.0, atol=1e-12)


def test_the_encoder_learns_by_the_decoder_and_by_commitment(model):
    batch = make_batch()
    kernel = next(v.value for v in model.trainable_variables if "code_projection" in v.path)
    with tf.GradientTape(persistent=True) as tape:
        losses = model.losses(batch, model.forward(batch, training=False))
    for name in model.loss_names:
        assert np.abs(tape.gradient(losses[name], kernel)).max() > 0.0, name


def test_codes_and_decoder_agree_with_the_steps_of_the_forward_pass(model):
    batch = make_batch()
    outputs = model.forward(batch, training=False)
    np.testing.assert_array_equal(model.tokenize_image(batch), outputs["image_code"])
    decoded = model.decoder(model.quantizer.codebook.look_up(outputs["image_code"]))
    pixels = np.clip(127.5 * (decoded.numpy() + 1.0), 0.0, 255.0)
    difference = model.reconstruct_image(batch).numpy() - pixels
    assert np.abs(difference).max() <= 0.51


def test_the_codebook_follows_in_training_alone():
    model = make_model()
    before = model.quantizer.codebook.codes.numpy()
    model.forward(make_batch(), training=False)
    np.testing.assert_array_equal(model.quantizer.codebook.codes.numpy(), before)
    model.forward(make_batch(), training=True)
    assert np.abs(model.quantizer.codebook.codes.numpy() - before).max() > 0.0
    assert set(model.scalars()) == {"codebook/perplexity", "codebook/used_share"}


def test_it_learns_to_reconstruct_what_it_sees():
    model = make_model(codebook={"size": 16, "dim": 4, "restart_below": 0.1})
    colors = np.random.default_rng(0).integers(0, 256, (8, 1, 1, 3))
    batch = {
        **make_batch(8),
        "image": tf.constant(np.broadcast_to(colors, (8, 16, 16, 3)), "uint8"),
    }
    variables = [variable.value for variable in model.trainable_variables]
    optimizer = tf.optimizers.Adam(0.01)

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            losses = model.losses(batch, model.forward(batch, training=True))
            total = tf.add_n(list(losses.values()))
        optimizer.apply_gradients(zip(tape.gradient(total, variables), variables))
        return losses["reconstruction"]

    optimizer.build(variables)
    for _ in range(50):
        loss = float(step())
    mean_image = float(model.collapsed_losses(batch, {})["reconstruction"])
    assert loss < 0.3 * mean_image
    codes = model.tokenize_image(batch).numpy().reshape(8, -1)
    assert len({tuple(row) for row in codes}) > 3


def test_exported_member_tokenises_and_reconstructs(model, tmp_path):
    batch = make_batch()
    folders = export_members(model, None, tmp_path, experiment_yaml="name: test\n")
    assert list(folders) == ["image_tokenizer"]
    png = np.array([tf.io.encode_png(image).numpy() for image in batch["image"]], object)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.loader.load(
            session, ["serve"], str(tmp_path / "image_tokenizer")
        )

        def call(signature):
            definition = meta.signature_def[signature]
            fetched = {key: output.name for key, output in definition.outputs.items()}
            return session.run(fetched, {definition.inputs["image_bytes"].name: png})

        served = {name: call(name) for name in ("tokenize", "serving_default", "reconstruct")}
    codes = model.tokenize_image(batch).numpy().reshape(4, 4)
    for signature in ("tokenize", "serving_default"):
        np.testing.assert_array_equal(served[signature]["tokens"], codes)
    np.testing.assert_array_equal(served["reconstruct"]["image"], batch["image"])
    pixels = model.reconstruct_image(batch).numpy().astype(int)
    assert np.abs(served["reconstruct"]["reconstruction"] - pixels).max() <= 1


def test_the_grid_must_fit_the_image():
    with pytest.raises(UserError, match=r"multiple of the encoder's stride, 8 .*image_size=20"):
        model_config_from_dict({**TINY, "image_size": 20})
