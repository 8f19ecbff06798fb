import numpy as np
import pytest
import tensorflow as tf

from tests.harness import run_layer_test, two_replicas
from vl_models.distribution import all_gather
from vl_models.layers.feature_queue import FeatureQueue


def make_queue(size=8, dim=2, **arguments):
    queue = FeatureQueue(size, dim, name="queue", **arguments)
    queue.build()
    return queue


def rows(first, count, dim=2):
    """Unit vectors and keys that tell which row they are."""
    angles = np.arange(first, first + count, dtype=np.float32)
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    keys = np.arange(first, first + count)
    return tf.constant(features), tf.constant(keys), tf.constant(keys[:, None] + 100)


def test_layer_contract(tmp_path):
    unit = np.array([[1.0, 0.0], [0.6, 0.8]], np.float32)
    run_layer_test(
        FeatureQueue,
        {"size": 5, "dim": 2, "query_hashes": 3, "warm_up": "random"},
        [unit],
        folder=tmp_path,
        output_shape=(2, 5),
        output_dtype="float32",
    )


def test_starts_with_random_unit_rows_and_has_nothing_to_train():
    queue = make_queue(size=500, dim=3)
    features = queue.features.numpy()
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1.0, atol=1e-6)
    assert np.linalg.norm(features.mean(axis=0)) < 0.15  # uniform on the sphere: 1/√500 expected
    assert queue.trainable_variables == []
    assert {v.path for v in queue.variables} == {
        f"queue/{name}"
        for name in (
            "features",
            "image_id_hash",
            "query_hash",
            "enqueued_at",
            "pointer",
            "filled",
            "passes",
        )
    }


def test_pointer_trace(golden):
    queue = make_queue(size=8)
    trace = []
    for step in range(4):
        trace.append(int(queue.pointer.numpy()))
        before = queue.features.numpy()
        features, image_id_hash, query_hash = rows(4 * step, 4)
        queue.enqueue(features, image_id_hash, query_hash)
        after = queue.features.numpy()
        written = np.arange(trace[-1], trace[-1] + 4)
        np.testing.assert_array_equal(after[written], features)
        others = np.setdiff1d(np.arange(8), written)
        np.testing.assert_array_equal(after[others], before[others])
        np.testing.assert_allclose(np.linalg.norm(after, axis=1), 1.0, atol=1e-6)
    assert trace == golden["moco"]["queue_ptr_trace_K8_B4"] == [0, 4, 0, 4]


def test_wraps_around_where_the_size_is_no_multiple_of_the_batch():
    queue = make_queue(size=8)
    for step in range(4):  # 12 rows of 3, the last 8 of which stay
        queue.enqueue(*rows(3 * step, 3))
    np.testing.assert_array_equal(queue.image_id_hash.numpy(), [8, 9, 10, 11, 4, 5, 6, 7])
    np.testing.assert_array_equal(queue.query_hash.numpy()[:, 0] - 100, queue.image_id_hash.numpy())
    np.testing.assert_allclose(
        queue.features.numpy()[:, 0], np.cos(queue.image_id_hash.numpy()), 1e-6
    )
    assert int(queue.pointer.numpy()) == 4


def test_of_a_batch_larger_than_the_queue_the_last_rows_stay():
    queue = make_queue(size=4)
    queue.enqueue(*rows(0, 1))
    queue.enqueue(*rows(1, 10))
    assert sorted(queue.image_id_hash.numpy()) == [7, 8, 9, 10]
    assert int(queue.pointer.numpy()) == 11 % 4
    oldest = queue.image_id_hash.numpy()[int(queue.pointer.numpy())]
    assert oldest == 7


def test_age_and_filled_share():
    queue = make_queue(size=8)

    def scalars():
        return {name: float(value) for name, value in queue.scalars().items()}

    assert scalars() == {"queue/age": 0.0, "queue/filled_share": 0.0}
    for step in range(1, 6):
        queue.enqueue(*rows(3 * step, 3))
        # Three passes fill it; from then on the oldest entry is three or two passes old.
        age = {1: 1, 2: 2, 3: 3, 4: 3, 5: 3}[step]
        assert scalars() == {"queue/age": age, "queue/filled_share": min(3 * step / 8, 1.0)}


def test_unfilled_slots_are_no_negatives_unless_published_behaviour_is_asked_for():
    masked, random = make_queue(), make_queue(warm_up="random")
    for queue in (masked, random):
        queue.enqueue(*rows(0, 3))
    np.testing.assert_array_equal(masked.unusable(), [False] * 3 + [True] * 5)
    np.testing.assert_array_equal(random.unusable(), [False] * 8)
    with pytest.raises(ValueError, match="Received: warm_up='empty'"):
        FeatureQueue(4, 2, warm_up="empty")


def test_other_widths_are_refused():
    queue = make_queue()
    features, image_id_hash, query_hash = rows(0, 2)
    with pytest.raises(ValueError, match="vectors of width 2, 1 query hashes each"):
        queue.enqueue(tf.zeros([2, 3]), image_id_hash, query_hash)
    with pytest.raises(ValueError, match="Received: features"):
        queue.enqueue(features, image_id_hash, tf.repeat(query_hash, 2, axis=1))


def test_replicas_hold_the_gathered_rows_in_the_same_order():
    strategy = two_replicas()
    with strategy.scope():
        double = make_queue()
    single = make_queue()

    def local(context):
        return tuple(rows(3 * context.replica_id_in_sync_group, 3))

    values = strategy.experimental_distribute_values_from_function(local)

    @tf.function(autograph=False)
    def step():
        strategy.run(lambda v: double.enqueue(*(all_gather(x) for x in v)), args=(values,))

    for _ in range(2):  # the second one wraps around
        step()
        single.enqueue(*rows(0, 6))
    for variable, expected in zip(double.variables, single.variables, strict=True):
        for copy in strategy.experimental_local_results(variable.value):
            if variable.path == "queue/features":
                np.testing.assert_allclose(copy, expected, atol=1e-6)
            else:
                np.testing.assert_array_equal(copy, expected, err_msg=variable.path)
