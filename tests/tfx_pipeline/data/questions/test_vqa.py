import pytest

from tfx_pipeline.data.contract import Reason
from tfx_pipeline.data.questions.question import Question
from tfx_pipeline.data.questions.vqa import read_vqa, without_rare_answers
from vl_models.errors import UserError


def question(key, text="What?", image=9):
    return {"question_id": key, "question": text, "image_id": image}


def annotation(key, *answers):
    given = [
        {"answer": a, "answer_id": i, "answer_confidence": "yes"} for i, a in enumerate(answers)
    ]
    return {
        "question_id": key,
        "image_id": 9,
        "answers": given,
        "multiple_choice_answer": answers[0],
    }


def test_soft_scores_are_a_third_of_the_humans_at_most_one(whole):
    humans = ["yes"] * 6 + ["Yes."] + ["no"] * 2 + ["a dog"]
    files = [
        whole("train_annotations.json", annotations=[annotation(1, *humans)]),
        whole("train_questions.json", data_subtype="train2014", questions=[question(1)]),
    ]
    [found] = read_vqa(files)
    assert found.key == "1" and found.text == "What?" and found.row == 1
    assert dict(found.answers) == pytest.approx({"yes": 1.0, "no": 2 / 3, "dog": 1 / 3})
    assert found.answers[0] == ("yes", 1.0)
    assert found.images == (("COCO_train2014_000000000009", "000000000009", "9"),)


def test_faulty_questions_are_rejected_with_file_and_row(whole):
    questions = [
        question(1),
        question(2, text=" "),
        question(3, image="9"),
        question(4),
        "What?",
        question(5),
        question(6),
    ]
    annotations = [annotation(key, "yes") for key in (1, 2, 3)]
    annotations += [annotation(5, "the"), {"question_id": 6, "answers": []}]
    files = [
        whole("val/q.json", questions=questions),
        whole("val/a.json", annotations=annotations),
    ]
    found, *rejected = sorted(read_vqa(files), key=lambda one: one.row)
    assert isinstance(found, Question)
    assert [(one.source, one.row, one.reason) for one in rejected] == [
        ("val/q.json", 2, Reason.MISSING_QUERY),
        ("val/q.json", 3, Reason.MISSING_IMAGE_ID),
        ("val/q.json", 4, Reason.MISSING_ANSWER),
        ("val/q.json", 5, Reason.MALFORMED_ROW),
        ("val/q.json", 6, Reason.MISSING_ANSWER),
        ("val/q.json", 7, Reason.MISSING_ANSWER),
    ]


def test_a_split_needs_both_files(whole):
    files = [whole("train_questions.json", questions=[question(1)])]
    message = r"^train_questions\.json: there is no file of annotations of the split train"
    with pytest.raises(UserError, match=message):
        list(read_vqa(files))
    with pytest.raises(UserError, match=r"^train\.json: holds neither `questions` nor `annot"):
        list(read_vqa([whole("train.json", images=[])]))


def test_rare_answers_are_not_learnt_but_still_right():
    def one(key, file, *answers):
        return Question(
            key, "?", (), tuple((a, 1.0 - i / 2) for i, a in enumerate(answers)), file, 1
        )

    splits = {"a": "train", "b": "val", "c": "test"}
    questions = [one("1", "a", "red", "pink"), one("2", "a", "pink"), one("3", "a", "mauve")]
    questions += [one("4", "b", "pink", "mauve"), one("5", "c", "mauve", "red")]
    kept = {
        q.key: [answer for answer, _ in q.answers]
        for q in without_rare_answers(questions, splits, 2)
    }
    # pink is the best answer of two questions of train and val; those of test do not count.
    assert kept == {
        "1": ["pink"],
        "2": ["pink"],
        "3": [],
        "4": ["pink", "mauve"],
        "5": ["mauve", "red"],
    }
