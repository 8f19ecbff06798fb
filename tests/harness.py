"""What every layer and every model must satisfy, so that a new one costs ten lines of test."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tests.devices import mirrored_strategy
from vl_models.export import export_members
from vl_models.models.base import VisionLanguageModel
from vl_models.models.capabilities import EncodesImages, EncodesTexts
from vl_models.text.tokenizer import Tokenizer


def run_layer_test(
    layer_class: type[keras.layers.Layer],
    arguments: Mapping[str, Any],
    inputs: Sequence[Any],
    *,
    folder: Path,
    output_shape: Any,
    policies: Sequence[str] = ("float32", "mixed_bfloat16"),
    output_dtype: Any = None,
) -> None:
    """Check shape and dtype, configuration round trip, save and reload, finite gradients.

    Args:
      layer_class: the class under test.
      arguments: constructor arguments.
      inputs: positional arguments of the call; the first one gets no gradient check if it
        is of an integer type.
      folder: a temporary folder.
      output_shape: of the output, or a dict of shapes for a dict of outputs.
      policies: dtype policies to run under.
      output_dtype: dtype of every output, or a dict of dtypes for a dict of outputs; the policy's
        compute dtype by default.
    """
    for policy in policies:
        layer = layer_class(**arguments, dtype=policy, name="layer")
        outputs = layer(*inputs)
        expected_dtype = output_dtype or keras.DTypePolicy(policy).compute_dtype
        assert _map(outputs, lambda x: tuple(x.shape)) == _map(output_shape, tuple)
        dtypes = _map(outputs, lambda x: x.dtype.name)
        if isinstance(expected_dtype, Mapping):
            assert dtypes == expected_dtype
        else:
            assert set(_values(dtypes)) == {expected_dtype}
        paths = [variable.path for variable in layer.variables]
        assert len(set(paths)) == len(paths)
        assert all(path.startswith("layer/") for path in paths)
        assert {v.dtype for v in layer.trainable_variables} <= {"float32"}
        _check_gradients(layer, inputs)
        _check_round_trip(layer, inputs, outputs, folder / f"{policy}.weights.h5")


def run_model_test(
    make_model: Callable[[], VisionLanguageModel],
    batch: Mapping[str, tf.Tensor],
    *,
    dim: int,
    tokenizer: Tokenizer | None = None,
    folder: Path | None = None,
) -> None:
    """Check embeddings, replicas, serialisation and, given a tokeniser, the export.

    Args:
      make_model: builds the model; called under strategy scopes.
      batch: of an even number of rows, with images and texts.
      dim: width of the embeddings.
      tokenizer: of the model; its towers are exported and served by the session loader.
      folder: a temporary folder for the export.
    """
    model = make_model()
    outputs = model.forward(batch, training=True)
    for name, capability in (("image_embedding", EncodesImages), ("text_embedding", EncodesTexts)):
        assert (name in outputs) == isinstance(model, capability)
        if name in outputs:
            assert outputs[name].dtype == tf.float32
            assert outputs[name].shape[1] == dim
            np.testing.assert_allclose(np.linalg.norm(outputs[name], axis=1), 1.0, atol=1e-5)
    losses = model.losses(batch, outputs)
    assert losses.keys() <= set(model.loss_names)
    for loss in losses.values():
        assert loss.shape == () and loss.dtype == tf.float32
    check_variables(model, batch)
    paths = [variable.path for variable in model.variables]
    assert len(set(paths)) == len(paths)
    check_replicas(make_model, batch)
    clone = type(model)(type(model.config).model_validate(model.get_config()))  # type: ignore[attr-defined]
    clone.build()
    _copy_weights(model, clone)
    if isinstance(model, EncodesImages) and isinstance(clone, EncodesImages):
        np.testing.assert_array_equal(clone.encode_image(batch), model.encode_image(batch))
    if isinstance(model, EncodesTexts) and isinstance(clone, EncodesTexts):
        np.testing.assert_array_equal(clone.encode_text(batch), model.encode_text(batch))
    if tokenizer is not None and folder is not None:
        check_export(model, tokenizer, folder)


def check_variables(model: VisionLanguageModel, batch: Mapping[str, tf.Tensor]) -> None:
    """Every variable that the losses read is one of the model's: it is trained and saved."""

    def losses() -> Any:
        return model.losses(batch, model.forward(batch, training=True))

    read = tf.function(losses, autograph=False).get_concrete_function().variables
    known = {id(variable.value) for variable in model.variables}
    unknown = sorted(variable.name for variable in read if id(variable) not in known)
    assert not unknown, f"the model does not know variables that it uses: {unknown}"


@functools.cache
def two_replicas() -> tf.distribute.Strategy:
    """The process's strategy over two devices (`tests/devices.py`).

    A second object over the same devices would number its collectives from the start again,
    and TensorFlow then takes them for those of the first.
    """
    return mirrored_strategy()


def check_replicas(
    make_model: Callable[[], VisionLanguageModel], batch: Mapping[str, tf.Tensor]
) -> None:
    """One replica on the whole batch and two on halves of it have equal losses and gradients."""
    single = make_model()
    strategy = two_replicas()
    with strategy.scope():
        double = make_model()
        _copy_weights(single, double)
    # Behind the copy: a forward pass may update state, such as a codebook.
    losses, gradients = _losses_and_gradients(single, batch)
    distributed = {
        key: strategy.experimental_distribute_values_from_function(_half_of(value))
        for key, value in batch.items()
    }

    @tf.function
    def run() -> Any:
        def replica(local: Mapping[str, tf.Tensor]) -> Any:
            local_losses, local_gradients = _losses_and_gradients(double, local, replicas=2)
            context = tf.distribute.get_replica_context()
            return local_losses, context.all_reduce(tf.distribute.ReduceOp.SUM, local_gradients)

        return strategy.run(replica, args=(distributed,))

    double_losses, double_gradients = run()
    for name, loss in losses.items():
        for replica_loss in strategy.experimental_local_results(double_losses[name]):
            np.testing.assert_allclose(replica_loss, loss, rtol=1e-5)
    for variable, one, two in zip(
        single.trainable_variables, gradients, double_gradients, strict=True
    ):
        for local in strategy.experimental_local_results(two):
            # Sums that cancel keep the rounding of what was summed.
            atol = 1e-5 * max(1.0, float(np.abs(one).max()))
            np.testing.assert_allclose(local, one, rtol=1e-3, atol=atol, err_msg=variable.path)


def check_export(
    model: VisionLanguageModel, tokenizer: Tokenizer, folder: Path, tolerance: float = 1e-5
) -> None:
    """The towers, loaded as TF Serving loads them, answer like the model does."""
    queries = ["red cat", "", "猫 dog", "DOG  running"]
    size = model.get_config()["image_size"]
    pixels = np.random.default_rng(0).integers(0, 256, (2, size, size, 3)).astype(np.uint8)
    towers = export_members(model, tokenizer, folder, experiment_yaml="system: test\n")
    text = run_signature(towers["text_tower"], "encode_text", "query", queries)
    expected = model.encode_text({**tokenizer.tokenize(tf.constant(queries))})
    np.testing.assert_allclose(text, expected, atol=tolerance)
    png = [tf.io.encode_png(image).numpy() for image in pixels]
    image = run_signature(towers["image_tower"], "encode_image", "image_bytes", png)
    np.testing.assert_allclose(image, model.encode_image({"image": pixels}), atol=tolerance)


def run_signature(
    folder: Path, signature: str, input_name: str, values: Sequence[Any]
) -> np.ndarray:
    """Call a signature through the TF1-style session loader, as TF Serving does."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(folder))
        definition = meta.signature_def[signature]
        output = definition.outputs["embedding"].name
        feed = {definition.inputs[input_name].name: np.asarray(values, dtype=object)}
        return session.run(output, feed)


def _half_of(value: Any) -> Callable[[tf.distribute.experimental.ValueContext], tf.Tensor]:
    """The rows of one of two replicas."""
    rows = len(value) // 2

    def take(context: tf.distribute.experimental.ValueContext) -> tf.Tensor:
        index = context.replica_id_in_sync_group
        return tf.constant(np.asarray(value)[index * rows : (index + 1) * rows])

    return take


def _losses_and_gradients(
    model: VisionLanguageModel, batch: Mapping[str, tf.Tensor], replicas: int = 1
) -> tuple[dict[str, tf.Tensor], list[tf.Tensor]]:
    with tf.GradientTape() as tape:
        losses = model.losses(batch, model.forward(batch, training=True))
        total = tf.add_n(list(losses.values())) / replicas
    variables = [variable.value for variable in model.trainable_variables]
    return losses, [
        tf.convert_to_tensor(gradient)
        for gradient in tape.gradient(total, variables, unconnected_gradients="zero")
    ]


def _copy_weights(source: VisionLanguageModel, target: VisionLanguageModel) -> None:
    for old, new in zip(source.variables, target.variables, strict=True):
        assert old.path == new.path
        new.assign(old.numpy())


def _check_gradients(layer: keras.layers.Layer, inputs: Sequence[Any]) -> None:
    """Every trainable variable gets a finite gradient."""
    with tf.GradientTape() as tape:
        outputs = _values(_map(layer(*inputs), lambda x: tf.cast(x, tf.float32)))
        total = tf.add_n([tf.reduce_sum(tf.square(x + 0.1)) for x in outputs])
    variables = [variable.value for variable in layer.trainable_variables]
    for variable, gradient in zip(variables, tape.gradient(total, variables), strict=True):
        assert gradient is not None, variable.name
        assert np.all(np.isfinite(tf.convert_to_tensor(gradient))), variable.name


def _check_round_trip(
    layer: keras.layers.Layer, inputs: Sequence[Any], outputs: Any, path: Path
) -> None:
    """A layer made from the stored configuration and weights computes the same."""
    clone = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert clone.get_config() == layer.get_config()
    clone(*inputs)
    _Holder(layer).save_weights(path)
    _Holder(clone).load_weights(path)
    for one, two in zip(_values(clone(*inputs)), _values(outputs), strict=True):
        np.testing.assert_array_equal(tf.cast(one, tf.float32), tf.cast(two, tf.float32))


class _Holder(keras.Model):
    """Gives a built layer Keras' weight files."""

    def __init__(self, layer: keras.layers.Layer) -> None:
        super().__init__()
        self.layer = layer
        self.built = True


def _map(values: Any, function: Callable[[Any], Any]) -> Any:
    if isinstance(values, Mapping):
        return {key: function(value) for key, value in values.items()}
    return function(values)


def _values(values: Any) -> list[Any]:
    return list(values.values()) if isinstance(values, Mapping) else [values]
