"""Accuracy of answers: members that see colours, questions about plain pictures."""

import numpy as np
import pytest

from tfx_pipeline.data.writers import make_example, record_writer, shard_name
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.evaluators import evaluate
from tfx_pipeline.evaluation.write import write_evaluation
from vl_models import features as f
from vl_models.errors import UserError

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
COLOUR, ZH = "what colour is it?", "什么颜色？"
# Rows: split, language, text, answers, colours.
COLOURS = [
    ("train", "en", COLOUR, {"red": 1.0}, RED),
    ("train", "en", COLOUR, {"red": 1.0, "green": 0.3}, RED),
    ("train", "en", COLOUR, {"blue": 1.0}, BLUE),
    ("train", "en", COLOUR, {"green": 0.6}, GREEN),
    ("train", "zh", ZH, {"white": 1.0}, WHITE),
    ("test", "en", COLOUR, {"red": 1.0}, RED),
    ("test", "en", COLOUR, {"green": 1.0, "red": 0.5}, GREEN),
    ("test", "en", COLOUR, {"lime": 1.0, "green": 0.25}, GREEN),
    ("test", "zh", ZH, {"blue": 1.0}, BLUE),
]
SAME = "both are red"
PAIRS = [
    ("train", "en", SAME, {"true": 1.0}, RED, RED),
    ("train", "en", SAME, {"false": 1.0}, RED, BLUE),
    ("val", "en", SAME, {"true": 1.0}, RED, RED),
    ("val", "en", SAME, {"false": 1.0}, GREEN, RED),
    ("test", "en", SAME, {"true": 1.0}, RED, RED),
    ("test", "en", SAME, {"false": 1.0}, BLUE, RED),
    ("test", "en", SAME, {"false": 1.0}, GREEN, BLUE),
]


@pytest.fixture(scope="module")
def questions(tmp_path_factory, make):
    """questions(rows) → folder of Examples."""

    def write(rows):
        folder = tmp_path_factory.mktemp("questions")
        for split in ("train", "val", "test"):
            path = f"{folder}/Split-{split}/{shard_name(0, 1)}"
            with record_writer(path) as writer:
                for number, (of, language, text, answers, *colours) in enumerate(rows):
                    if of != split:
                        continue
                    images = [make.png(colour) for colour in colours]
                    values = {
                        f.QUESTION_ID: [str(number).encode()],
                        f.QUERY_TEXT: [text.encode()],
                        f.QUERY_LANGUAGE: [language.encode()],
                        f.ANSWER_TEXT: [answer.encode() for answer in answers],
                        f.ANSWER_SCORE: list(answers.values()),
                        f.IMAGE_ENCODED: images[:1],
                        f.IMAGE_2_ENCODED: images[1:],
                    }
                    writer.write(make_example(values).SerializeToString())
        return folder

    return write


def save_answerer(path, two=False):
    """Names the strongest channel; of two images, whether red is the strongest of both."""
    import tensorflow as tf

    def channel(image_bytes):
        return tf.map_fn(
            lambda encoded: tf.argmax(
                tf.reduce_mean(
                    tf.cast(tf.io.decode_png(encoded, channels=3), tf.float32), axis=[0, 1]
                )
            ),
            image_bytes,
            fn_output_signature=tf.int64,
        )

    names = ("query", "image_bytes", "image_2_bytes")[: 3 if two else 2]

    class Answerer(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=n) for n in names])
        def answer(self, query, *images):
            found = [channel(one) for one in images]
            if two:
                both = tf.cast((found[0] == 0) & (found[1] == 0), tf.int32)
                answers = tf.gather(["false", "true"], both)
            else:
                answers = tf.gather(["red", "green", "blue"], found[0])
            scores = tf.ones([tf.shape(query)[0], 1])
            return {"answers": answers[:, tf.newaxis], "scores": scores}

    answerer = Answerer()
    tf.saved_model.save(answerer, str(path), signatures={"answer": answerer.answer})


@pytest.fixture(scope="module")
def models(tmp_path_factory, make):
    root = tmp_path_factory.mktemp("models")
    words = {
        f"{COLOUR} red": (1, 0, 0),
        f"{COLOUR} green": (0, 1, 0),
        f"{COLOUR} blue": (0, 0, 1),
        f"{ZH} white": (1, 1, 1),
        f"{ZH} red": (1, 0, 0),
        f"{ZH} blue": (0, 0, 1),
        f"{ZH} green": (0, 1, 0),
        SAME: (1, 0, 0),
    }
    (root / "towers").mkdir()
    make.text_tower(root / "towers/text_tower", words)
    make.image_tower(root / "towers/image_tower")
    save_answerer(root / "one")
    save_answerer(root / "two", two=True)
    return root


def options(models, **changes):
    towers = {"towers": str(models / "towers")}
    return EvaluationConfig(bootstrap={"samples": 30}, batch_size=2, answers=towers, **changes)


def test_accuracy_is_the_mean_score_of_the_best_answer(models, questions, tmp_path):
    folder = questions(COLOURS)
    result = evaluate({"answerer": models / "one"}, options(models), questions_dir=folder)
    assert result.metrics == pytest.approx(
        {
            # Red, green, green (known as lime to most), blue.
            "answers/accuracy": (1 + 1 + 0.25 + 1) / 4,
            # Red is usual in English, white in Chinese.
            "answers/question_alone/accuracy": (1 + 0.5 + 0 + 0) / 4,
            "answers/towers/accuracy": (1 + 1 + 0.25 + 1) / 4,
            "language=en/answers/accuracy": 2.25 / 3,
            "language=en/answers/question_alone/accuracy": 1.5 / 3,
            "language=en/answers/towers/accuracy": 2.25 / 3,
            "language=zh/answers/accuracy": 1.0,
            "language=zh/answers/question_alone/accuracy": 0.0,
            "language=zh/answers/towers/accuracy": 1.0,
            "answers/question_alone/accuracy_difference": 0.8125 - 0.375,
            "language=en/answers/question_alone/accuracy_difference": 0.25,
            "language=zh/answers/question_alone/accuracy_difference": 1.0,
            # The towers answer the same.
            "answers/towers/accuracy_difference": 0.0,
            "language=en/answers/towers/accuracy_difference": 0.0,
            "language=zh/answers/towers/accuracy_difference": 0.0,
        }
    )
    low, high = result.intervals["answers/accuracy"]
    assert 0.25 <= low < 0.8125 < high <= 1.0
    assert result.intervals["answers/towers/accuracy_difference"] == (0.0, 0.0)
    assert result.counts["questions"] == 4
    assert result.per_query["answer"].to_pylist() == ["red", "green", "green", "blue"]
    assert result.headline[0] == "answers/accuracy"
    write_evaluation(result, tmp_path)
    report = (tmp_path / "report.html").read_text("utf-8")
    assert "question alone" in report and "<td>language=zh</td>" in report


def test_sentences_about_two_images_with_thresholds_from_val(models, questions):
    folder = questions(PAIRS)
    result = evaluate({"answerer": models / "two"}, options(models), questions_dir=folder)
    assert result.metrics == pytest.approx(
        {
            "answers/accuracy": 1.0,
            "answers/question_alone/accuracy": 2 / 3,  # "false" and "true" are as frequent
            "answers/question_alone/accuracy_difference": 1 / 3,
            "answers/towers/accuracy": 1.0,  # red and red: 1; others: 1/2 and less
            "answers/towers/accuracy_difference": 0.0,
        }
    )


def test_towers_need_not_be_given(models, questions):
    folder = questions(COLOURS)
    config = EvaluationConfig(bootstrap={"samples": 5}, slices=[], splits=["train", "test"])
    result = evaluate({"answerer": models / "one"}, config, questions_dir=folder)
    alone = "answers/question_alone/accuracy"
    assert set(result.metrics) == {"answers/accuracy", alone, f"{alone}_difference"}
    expected = np.mean([1, 1, 1, 0.6, 0, 1, 1, 0.25, 1])
    assert result.metrics["answers/accuracy"] == pytest.approx(expected)


def test_what_does_not_fit_is_told(models, questions):
    folder = questions(COLOURS)
    with pytest.raises(UserError, match=r"There is no question in the splits val\. Choose"):
        evaluate(
            {"answerer": models / "one"}, options(models, splits=["val"]), questions_dir=folder
        )
    with pytest.raises(UserError, match="two: the answerer does not read what the data hold"):
        evaluate({"answerer": models / "two"}, options(models), questions_dir=folder)
    with pytest.raises(UserError, match="answers needs an answerer and questions with answers"):
        evaluate({"answerer": models / "one"}, options(models))
