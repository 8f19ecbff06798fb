import numpy as np
import pytest
import tensorflow as tf

from tests.harness import run_layer_test, two_replicas
from vl_models.layers.codebook import Codebook, perplexity

SOHO = {"keep_unused": False, "look_up_updated": True}


def make_codebook(size=3, dim=2, codes=None, **options):
    codebook = Codebook(size, dim, name="codebook", **options)
    codebook.build()
    if codes is not None:
        codebook.codes.assign(codes)
    return codebook


def state(codebook):
    return {v.name: v.numpy() for v in (codebook.codes, codebook.counts, codebook.sums)}


def vectors(*shape, seed=0):
    return tf.constant(np.random.default_rng(seed).normal(size=shape), tf.float32)


def make_seeds(rows):
    drawn = np.random.default_rng(5).integers(-(2**31), 2**31, (rows, 2))
    return tf.constant(drawn, tf.int32)


def test_layer_contract(tmp_path):
    run_layer_test(
        Codebook,
        {"size": 6, "dim": 3, "decay": 0.9, "restart_below": 0.5, "stddev": 0.1, **SOHO},
        [vectors(2, 4, 5, 3)],
        folder=tmp_path,
        output_shape={"codes": (2, 4, 5), "quantized": (2, 4, 5, 3), "table": (6, 3)},
        output_dtype={"codes": "int32", "quantized": "float32", "table": "float32"},
    )


def test_golden_updates_of_soho(golden):
    values = golden["soho_vd"]
    codebook = make_codebook(codes=values["init_embed"], decay=values["gamma"], **SOHO)
    features = tf.constant(values["feat"])
    for expected in values["steps"]:
        outputs = codebook(features, training=True)
        np.testing.assert_array_equal(outputs["codes"], expected["idx"])
        np.testing.assert_allclose(codebook.counts.numpy(), expected["N"], atol=1e-6)
        np.testing.assert_allclose(codebook.sums.numpy(), expected["M"], atol=1e-6)
        np.testing.assert_allclose(codebook.codes.numpy(), expected["embed"], atol=1e-6)
        np.testing.assert_allclose(outputs["quantized"], expected["quantized_fwd"], atol=1e-6)


def test_first_step_makes_codes_the_means_of_their_vectors():
    features = tf.constant([[0.0, 0.2], [0.2, 0.0], [1.0, 1.4], [1.2, 1.0]])
    start = [[0.0, 0.0], [1.0, 1.0], [9.0, 9.0]]
    codebook = make_codebook(codes=start, decay=0.99)
    outputs = codebook(features, training=True)
    # VQ-VAE quantises by the codes as they were.
    np.testing.assert_allclose(outputs["quantized"], tf.gather(start, [0, 0, 1, 1]), atol=1e-6)
    expected = [[0.1, 0.1], [1.1, 1.2], [9.0, 9.0]]  # the last one was not used
    np.testing.assert_allclose(codebook.codes.numpy(), expected, atol=1e-3)
    np.testing.assert_allclose(codebook.counts.numpy(), [0.02, 0.02, 0.0], atol=1e-6)
    forgotten = make_codebook(codes=start, decay=0.99, keep_unused=False)
    forgotten(features, training=True)
    np.testing.assert_array_equal(forgotten.codes.numpy()[2], [0.0, 0.0])


def test_codes_settle_where_k_means_does():
    random = np.random.default_rng(1)
    centres = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]], np.float32)
    codebook = make_codebook(codes=centres + 0.5, decay=0.9)
    for _ in range(60):
        drawn = random.integers(0, 3, 300)
        codebook(tf.constant(centres[drawn] + random.normal(0, 0.1, (300, 2))), training=True)
    np.testing.assert_allclose(codebook.codes.numpy(), centres, atol=0.02)
    np.testing.assert_allclose(codebook.counts.numpy(), [100.0] * 3, rtol=0.1)


def test_gradient_passes_straight_through():
    codebook = make_codebook(**SOHO)
    assert codebook.trainable_variables == []
    features = tf.Variable(vectors(4, 5, 2))
    factor = vectors(4, 5, 2, seed=1)
    with tf.GradientTape() as tape:
        outputs = codebook(features, training=True)
        total = tf.reduce_sum(factor * outputs["quantized"])
    np.testing.assert_array_equal(tape.gradient(total, features), factor)
    codes = codebook.look_up(outputs["codes"])
    np.testing.assert_allclose(outputs["quantized"], codes, atol=1e-6)


def test_evaluation_changes_nothing_and_finds_the_nearest():
    codebook = make_codebook(size=7, dim=3)
    before, features = state(codebook), vectors(5, 2, 3)
    outputs = codebook(features)
    distance = np.linalg.norm(features.numpy()[..., None, :] - before["codes"], axis=-1)
    np.testing.assert_array_equal(outputs["codes"], np.argmin(distance, axis=-1))
    np.testing.assert_array_equal(codebook.nearest(features), outputs["codes"])
    for name, value in state(codebook).items():
        np.testing.assert_array_equal(value, before[name])


def test_what_the_mask_leaves_out_is_not_followed():
    features, mask = vectors(2, 3, 2), tf.constant([[True, False, True], [False, True, False]])
    whole, masked = make_codebook(), make_codebook()
    masked.codes.assign(whole.codes.numpy())
    whole(tf.boolean_mask(features, mask), training=True)
    outputs = masked(features, valid=mask, training=True)
    for name, value in state(whole).items():
        np.testing.assert_allclose(state(masked)[name], value, atol=1e-6)
    assert outputs["codes"].shape == (2, 3)  # all are quantised


def test_unused_codes_begin_anew_at_vectors_of_the_batch():
    features, seeds = vectors(8, 6, 2), make_seeds(8)
    codebook = make_codebook(size=6, codes=[[100.0 + i, 0.0] for i in range(6)], restart_below=0.1)
    codebook(features, seeds=seeds, training=True)  # all vectors have the first code
    codes = codebook.codes.numpy()
    flat = features.numpy().reshape(-1, 2)
    found = [np.flatnonzero(np.all(np.isclose(flat, code), axis=1)) for code in codes[1:]]
    assert [len(places) for places in found] == [1] * 5
    rows = [places[0] // 6 for places in found]
    assert len(set(rows)) == 5 and rows != sorted(rows)  # one per row, in random order
    np.testing.assert_allclose(codebook.counts.numpy(), [0.48, *[0.1] * 5], atol=1e-6)
    np.testing.assert_allclose(codebook.sums.numpy()[1:], 0.1 * codes[1:], atol=1e-6)
    # In the next step they are used, and none is restarted that has enough vectors.
    assert len(np.unique(codebook.nearest(features))) > 3


def test_no_more_codes_begin_anew_than_rows_have_vectors():
    features, seeds = vectors(3, 4, 2), make_seeds(3)
    start = np.full((9, 2), 50.0, np.float32)
    codebook = make_codebook(size=9, codes=start, restart_below=0.5)
    mask = tf.constant([[True, False, False, True], [False] * 4, [False, True, False, False]])
    codebook(features, valid=mask, seeds=seeds, training=True)
    codes = codebook.codes.numpy()
    assert sorted(np.flatnonzero(np.any(codes != 50.0, axis=1))) == [0, 1]
    assert any(np.array_equal(code, features[2, 1]) for code in codes[:2])
    assert any(np.array_equal(code, features[0, place]) for code in codes[:2] for place in (0, 3))
    with pytest.raises(ValueError, match="Received: seeds=None"):
        codebook(features, training=True)


@pytest.mark.gpu
@pytest.mark.parametrize("options", [{"restart_below": 0.5}, SOHO], ids=["vq_vae", "soho"])
def test_two_replicas_equal_one(options):
    features, seeds = vectors(6, 5, 2), make_seeds(6)
    strategy = two_replicas()
    with strategy.scope():
        double = make_codebook(size=8, decay=0.7, **options)
    single = make_codebook(size=8, decay=0.7, codes=double.codes.numpy(), **options)

    def local(context):
        half = slice(3 * context.replica_id_in_sync_group, 3 * context.replica_id_in_sync_group + 3)
        return features[half], seeds[half]

    values = strategy.experimental_distribute_values_from_function(local)

    @tf.function(autograph=False)
    def step():
        def replica(own):
            return double(own[0], seeds=own[1], training=True)["quantized"]

        return strategy.run(replica, args=(values,))

    for _ in range(3):
        expected = single(features, seeds=seeds, training=True)["quantized"]
        found = strategy.experimental_local_results(step())
        np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-6)
    for name, value in state(single).items():
        variable = getattr(double, name).value
        for copy in strategy.experimental_local_results(variable):
            np.testing.assert_allclose(copy, value, atol=1e-6)


def test_perplexity():
    assert float(perplexity(tf.constant([3.0] * 5))) == pytest.approx(5.0)
    assert float(perplexity(tf.constant([0.0, 7.0, 0.0]))) == pytest.approx(1.0)
    assert float(perplexity(tf.zeros([4]))) == pytest.approx(1.0)
    # H(1/2, 1/4, 1/4) = 1.5 ln 2.
    assert float(perplexity(tf.constant([2.0, 1.0, 1.0]))) == pytest.approx(2**1.5)
    codebook = make_codebook(size=4)
    codebook.counts.assign([2.0, 1.0, 1.0, 0.001])
    scalars = {name: float(value) for name, value in codebook.scalars().items()}
    assert scalars["codebook/used_share"] == 0.75
    assert scalars["codebook/perplexity"] == pytest.approx(2**1.5, rel=0.01)


def test_a_wrong_decay_is_named():
    with pytest.raises(ValueError, match=r"Received: decay=1\.0"):
        Codebook(2, 2, decay=1.0)
