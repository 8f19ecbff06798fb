"""SavedModels for Classify, Regress and MultiInference, as TensorFlow 1 and 2 export them.

Their examples have a feature `x` (one float, 0 if missing) and, for classes, `name` (one string).
"""

from collections.abc import Mapping
from pathlib import Path

CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"
PREDICT = "tensorflow/serving/predict"


def save_half_plus(folder: Path, offset: float) -> None:
    """y = x / 2 + offset, in the manner of TF Serving's half_plus_two and half_plus_three.

    Signatures: `serving_default` (Predict, x -> y), `column` (the same for x of [None, 1]),
    `defaulted` (the same plus the input `added`, 10 if it is not sent), `regress_x_to_y`,
    `regress_x_to_y2` (one more), `classify_x_to_y` (scores), `classify_both`, and others that are
    wrong in one way each. All tf.Examples enter at one placeholder. A variable counts the session
    runs that parse examples; `runs` (Predict) reads it.
    """
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        half = v1.get_variable("a", initializer=0.5)
        plus = v1.get_variable("b", initializer=float(offset))
        count = v1.get_variable("runs", initializer=tf.constant(0, tf.int64))

        # Of any rank, as there: TensorFlow 2 cannot load such a model, a session can.
        serialized = v1.placeholder(tf.string, name="tf_example")
        with tf.control_dependencies([v1.assign_add(count, 1, use_locking=True)]):
            examples = tf.identity(serialized)
        features = {
            "x": tf.io.FixedLenFeature([1], tf.float32, 0.0),
            "name": tf.io.FixedLenFeature([1], tf.string, ""),
        }
        parsed = v1.parse_example(examples, features)
        x, name = parsed["x"], parsed["name"]
        y = tf.add(x * half, plus, "y")
        y2 = tf.add(y, 1.0, "y2")
        plain = v1.placeholder(tf.float32, [None], "x")
        plain_y = tf.add(plain * half, plus, "plain_y")
        column = v1.placeholder(tf.float32, [None, 1], "column")
        column_y = tf.add(column * half, plus, "column_y")
        added = v1.placeholder(tf.float32, [None], "added")
        sum_y = tf.add(plain_y, added, "sum_y")
        names = tf.concat([tf.strings.join([name, "-low"]), tf.strings.join([name, "-high"])], 1)
        scores = tf.concat([y, y2], 1)

        tensors = {
            "y": y,
            "y2": y2,
            "flat": tf.reshape(y, [-1]),
            "names": names,
            "scores": scores,
            "few": tf.reshape(y, [-1])[1:],
            "few_names": names[1:],
            "few_scores": scores[1:],
            "wide": tf.concat([scores, y], 1),
            "integers": tf.cast(y, tf.int32),
            "integer_scores": tf.cast(scores, tf.int32),
        }
        exports = {
            "regress_x_to_y": (REGRESS, {"outputs": "y"}),
            "regress_x_to_y2": (REGRESS, {"outputs": "y2"}),
            "regress_flat": (REGRESS, {"outputs": "flat"}),
            "regress_matrix": (REGRESS, {"outputs": "scores"}),
            "regress_few": (REGRESS, {"outputs": "few"}),
            "regress_integers": (REGRESS, {"outputs": "integers"}),
            "regress_named_y": (REGRESS, {"y": "y"}),
            "regress_two": (REGRESS, {"outputs": "y", "y2": "y2"}),
            "classify_x_to_y": (CLASSIFY, {"scores": "y"}),
            "classify_both": (CLASSIFY, {"classes": "names", "scores": "scores"}),
            "classify_classes": (CLASSIFY, {"classes": "names"}),
            "classify_flat": (CLASSIFY, {"scores": "flat"}),
            "classify_float_classes": (CLASSIFY, {"classes": "scores"}),
            "classify_integer_scores": (CLASSIFY, {"scores": "integer_scores"}),
            "classify_few_classes": (CLASSIFY, {"classes": "few_names"}),
            "classify_few_scores": (CLASSIFY, {"scores": "few_scores"}),
            "classify_uneven": (CLASSIFY, {"classes": "names", "scores": "wide"}),
            "classify_three": (CLASSIFY, {"classes": "names", "scores": "scores", "y": "y"}),
            "classify_named_y": (CLASSIFY, {"y": "y"}),
            "odd": ("tensorflow/serving/odd", {"outputs": "y"}),
        }

        signatures = {
            "serving_default": _signature(PREDICT, {"x": plain}, {"y": plain_y}),
            "runs": _signature(PREDICT, {"x": plain}, {"runs": tf.identity(count)}),
            "column": _signature(PREDICT, {"x": column}, {"y": column_y}),
            "defaulted": _signature(PREDICT, {"x": plain, "added": added}, {"y": sum_y}),
            "no_inputs": _signature(PREDICT, {}, {"half": tf.identity(half)}),
            "regress_named_x": _signature(REGRESS, {"x": serialized}, {"outputs": y}),
            "classify_named_x": _signature(CLASSIFY, {"x": serialized}, {"scores": scores}),
            "regress_two_inputs": _signature(
                REGRESS, {"inputs": serialized, "x": plain}, {"outputs": y}
            ),
        }
        signatures["defaulted"].defaults["added"].CopyFrom(tf.make_tensor_proto([10.0]))
        for key, (method, outputs) in exports.items():
            signatures[key] = _signature(
                method,
                {"inputs": serialized},
                {alias: tensors[tensor] for alias, tensor in outputs.items()},
            )
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()


def _signature(method: str, inputs: Mapping, outputs: Mapping):
    import tensorflow as tf

    saved_model = tf.compat.v1.saved_model
    return saved_model.build_signature_def(
        {key: saved_model.build_tensor_info(tensor) for key, tensor in inputs.items()},
        {key: saved_model.build_tensor_info(tensor) for key, tensor in outputs.items()},
        method,
    )


def save_examples_module(folder: Path) -> None:
    """A tf.Module whose signatures `classify` and `regress` take examples: y = 2 x, class x > 0.

    Exported by TensorFlow 2: both have the method name of Predict and a placeholder of their own.
    """
    import tensorflow as tf

    class Examples(tf.Module):
        """Parses examples in the graph."""

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
        def regress(self, inputs):
            return {"outputs": 2.0 * self._x(inputs)}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
        def classify(self, inputs):
            score = tf.sigmoid(self._x(inputs))[:, None]
            return {
                "classes": tf.repeat([["yes", "no"]], tf.size(inputs), axis=0),
                "scores": tf.concat([score, 1.0 - score], axis=1),
            }

        def _x(self, inputs):
            return tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([], tf.float32, 0.0)})[
                "x"
            ]

    module = Examples()
    signatures = {"serving_default": module.classify, "classify": module.classify}
    tf.saved_model.save(module, str(folder), {**signatures, "regress": module.regress})


def sleep(seconds):
    """The time, [] float64, after so many seconds (a scalar).

    It holds no thread of TensorFlow's meanwhile. A loop that looks at the clock takes one, and with
    two cores two such requests keep the server from loading another version.
    """
    import tensorflow as tf

    one = {"output_types": [tf.int64], "output_shapes": [tf.TensorShape([])]}
    source = tf.data.Dataset.range(1)._variant_tensor
    # A little longer: the clock that tells the time may be slowed down a little meanwhile.
    micros = tf.cast(tf.cast(seconds, tf.float64) * 1.01e6, tf.int64)
    slept = tf.raw_ops.SleepDataset(input_dataset=source, sleep_microseconds=micros, **one)
    # Asked for a second element it would sleep again.
    first = tf.raw_ops.TakeDataset(input_dataset=slept, count=tf.constant(1, tf.int64), **one)
    with tf.control_dependencies(tf.raw_ops.DatasetToSingleElement(dataset=first, **one)):
        return tf.timestamp()


def save_batching_module(folder: Path) -> None:
    """A tf.Module of TensorFlow 2 whose signatures tell in what batch they ran, or are slow."""
    import tensorflow as tf

    class Model(tf.Module):
        """Counts how often `serving_default` and `slow` are run."""

        def __init__(self):
            self.weight = tf.Variable([[1.0], [2.0]])
            self.table = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(["a", "b"], [10, 20]), -1
            )
            self.runs = tf.Variable(0, dtype=tf.int64)

        @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, "x")])
        def serving_default(self, x):
            """The sum of each row, how many rows ran together, how often the graph was run."""
            self.runs.assign_add(1)
            rows = tf.fill([tf.shape(x)[0]], tf.shape(x)[0])
            return {
                "sum": tf.reduce_sum(x, 1),
                "rows": rows,
                "run": tf.fill([tf.shape(x)[0]], self.runs.read_value()),
            }

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def checked(self, x):
            with tf.control_dependencies([tf.debugging.assert_positive(x, "x must be positive")]):
                return {"y": 2.0 * x}

        @tf.function(
            input_signature=[
                tf.TensorSpec([None], tf.string, "key"),
                tf.TensorSpec([None, 2], tf.float32, "v"),
            ]
        )
        def looked_up(self, key, v):
            return {"value": self.table.lookup(key), "product": v @ self.weight, "key": key}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def scalar(self, x):
            return {"total": tf.reduce_sum(x)}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def fewer(self, x):
            return {"rest": x[1:]}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "seconds")])
        def slow(self, seconds):
            self.runs.assign_add(1)
            return {"end": tf.fill(tf.shape(seconds), sleep(tf.reduce_max(seconds)))}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def count(self, x):
            return {"runs": tf.fill(tf.shape(x), self.runs.read_value()), "x": x}

    model = Model()
    names = ("serving_default", "checked", "looked_up", "scalar", "fewer", "slow", "count")
    tf.saved_model.save(model, str(folder), {name: getattr(model, name) for name in names})


def example(**features):
    """A tf.Example of lists of numbers or strings; a single value is a list of one."""
    import tensorflow as tf

    message = tf.train.Example()
    for key, value in features.items():
        values = value if isinstance(value, list) else [value]
        feature = message.features.feature[key]
        if isinstance(values[0], str):
            feature.bytes_list.value.extend(v.encode() for v in values)
        elif isinstance(values[0], float):
            feature.float_list.value.extend(values)
        else:
            feature.int64_list.value.extend(values)
    return message


def fill_input(target, *examples, context=None) -> None:
    """Writes examples into an Input, with a context if one is given."""
    if context is None:
        target.example_list.examples.extend(examples)
    else:
        target.example_list_with_context.context.CopyFrom(context)
        target.example_list_with_context.examples.extend(examples)
