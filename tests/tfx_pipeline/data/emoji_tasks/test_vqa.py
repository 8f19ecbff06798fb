import collections

import numpy as np

from tfx_pipeline.data.emoji_tasks.vqa import HUMANS, vqa_files


def test_questions_and_their_annotations(pictures):
    files = vqa_files(pictures, "test", np.random.default_rng(0))
    questions = files["test_questions.json"]["questions"]
    annotations = files["test_annotations.json"]["annotations"]
    assert files["test_questions.json"]["data_subtype"] == "emoji_test"
    keys = [question["question_id"] for question in questions]
    assert keys == [annotation["question_id"] for annotation in annotations]
    assert len(set(keys)) == len(keys)
    by_number = {picture.number: picture for picture in pictures}
    assert {by_number[q["image_id"]].split for q in questions} == {"test"}
    assert all(len(annotation["answers"]) == HUMANS for annotation in annotations)
    texts = {q["question"] for q in questions}
    assert {"what kind of thing is it?", "这是哪一类？", "what word goes with it?"} <= texts


def test_answers_are_true_and_yes_is_as_frequent_as_no(pictures):
    files = vqa_files(pictures, "train", np.random.default_rng(1))
    by_number = {picture.number: picture for picture in pictures}
    counts = collections.Counter()
    for question, annotation in zip(
        files["train_questions.json"]["questions"], files["train_annotations.json"]["annotations"]
    ):
        picture = by_number[question["image_id"]]
        given = collections.Counter(one["answer"] for one in annotation["answers"])
        language = (
            "en" if question["question"].isascii() or "word" in question["question"] else "zh"
        )
        if annotation["question_type"] == "word":
            word = question["question"].split("“")[1].split("”")[0]
            [answer] = given
            assert (answer in ("yes", "有关")) == (word in picture.words[language])
            counts[answer] += 1
        elif annotation["question_type"] == "words":
            assert list(given) == list(picture.words[language])
            assert list(given.values()) == ([10] if len(given) == 1 else [6, 4])
        else:
            names = {"Animals & Nature": "animals and nature", "Food & Drink": "food and drink"}
            assert language == "zh" or list(given) == [names[picture.top_group]]
    assert counts["yes"] == counts["no"] == counts["有关"] == counts["无关"] > 10
