from tfx_pipeline.evaluation.question_alone import QuestionAlone
from tfx_pipeline.evaluation.questions import AnsweredQuestion


def question(text, **answers):
    return AnsweredQuestion("1", text, "en", answers)


def test_the_most_similar_questions_answer():
    alone = QuestionAlone(
        [
            question("what is it?", dog=1.0),
            question("what is it?", cat=0.6),
            question("what is it?", cat=0.6),
            question("does “red” fit?", yes=1.0),
            question("does “blue” fit?", no=1.0),
            question("does “green” fit?", no=1.0),
            question("how many dogs are there?", two=1.0),
            question("这是什么？", 狗=1.0),
        ]
    )
    assert alone.answer("what is it?") == "cat"  # 1.2 against 1
    assert alone.answer("does “red” fit?") == "yes"  # the same text
    assert alone.answer("does “pink” fit?") == "no"  # all but the quoted word
    assert alone.answer("how many dogs can you see?") == "two"  # the same three words
    assert alone.answer("这是什么颜色？") == "狗"  # the same three characters
    assert alone.answer("why?") == "no"  # the commonest of all
    assert alone.usual("what is it?", 3) == ("cat", "dog", "no")
    assert alone.usual("what is it?", 1) == ("cat",)


def test_nothing_is_known_without_answers():
    assert QuestionAlone([question("why?")]).answer("why?") == ""
