from tfx_pipeline.data.cldr import Annotation
from tfx_pipeline.data.emoji_tasks.pictures import by_word, make_pictures


def test_words_are_those_that_pictures_share_the_commonest_first():
    emoji = "abcdef"
    annotations = {
        "en": {c: Annotation(f"name {c}", ("own " + c, "rare", "all")) for c in emoji},
        "zh": {c: Annotation(f"名{c}", ("全",)) for c in emoji},
    }
    annotations["en"]["f"] = Annotation("name f", ("all",))
    splits = ["train"] * 4 + ["val", "test"]
    pictures = make_pictures(emoji, annotations, {"a": "Food/fruit"}, splits)
    assert [p.words["en"] for p in pictures] == [("all", "rare")] * 5 + [("all",)]
    assert pictures[0].names == {"en": "name a", "zh": "名a"}
    assert (pictures[0].group, pictures[0].top_group, pictures[1].group) == (
        "Food/fruit",
        "Food",
        "",
    )
    assert [(p.number, p.image_id, p.split) for p in pictures[3:]] == [
        (4, "u64", "train"),
        (5, "u65", "val"),
        (6, "u66", "test"),
    ]
    assert [p.number for p in by_word(pictures, "en")["rare"]] == [1, 2, 3, 4, 5]
