import pytest

from tfx_pipeline.data.scenes.pictures import NamedEmoji, choose_pictures, known_pictures
from vl_models.errors import UserError


@pytest.mark.parametrize(
    ("noun", "article", "plural"),
    [
        ("dog", "a", "dogs"),
        ("owl", "an", "owls"),
        ("unicorn", "a", "unicorns"),
        ("ewe", "a", "ewes"),
        ("ox", "an", "oxen"),
        ("fox", "a", "foxes"),
        ("ostrich", "an", "ostriches"),
        ("monkey", "a", "monkeys"),
        ("butterfly", "a", "butterflies"),
        ("potato", "a", "potatoes"),
        ("kangaroo", "a", "kangaroos"),
        ("avocado", "an", "avocados"),
        ("mouse", "a", "mice"),
        ("shrimp", "a", "shrimp"),
    ],
)
def test_english_nouns(noun, article, plural):
    picture = NamedEmoji("x", noun, "某", "只")
    assert (picture.article, picture.plural) == (article, plural)


@pytest.mark.usefixtures("emoji_packages")
def test_names_are_single_words_of_one_thing_each():
    pictures = known_pictures()
    assert len(pictures) > 80
    for names in ([p.english for p in pictures], [p.chinese for p in pictures]):
        assert len(set(names)) == len(names)
    assert all(p.english.isalpha() and not p.english.endswith("s") for p in pictures)
    assert not any(p.chinese.startswith(("大", "小")) for p in pictures)
    by_name = {p.english: p for p in pictures}
    assert {"dog", "cat", "lemon"} <= by_name.keys()
    assert not {"bird", "fish", "poodle"} & by_name.keys()  # a duck is a bird, too
    measures = [(name, by_name[name].measure) for name in ("dog", "horse", "snail", "cow", "lemon")]
    assert measures == [
        ("dog", "只"),
        ("horse", "匹"),
        ("snail", "只"),
        ("cow", "头"),
        ("lemon", "个"),
    ]


@pytest.mark.usefixtures("emoji_packages")
def test_a_pool_is_spread_over_the_kinds_and_drawn_to_the_edge():
    pool = choose_pictures(10)
    assert len({picture.character for picture, _ in pool}) == 10
    assert {picture.measure for picture, _ in pool} >= {"只", "个"}
    for _, glyph in pool:
        assert glyph.getchannel("A").getbbox() == (0, 0, *glyph.size)


@pytest.mark.usefixtures("emoji_packages")
@pytest.mark.parametrize("number", [4, 1000])
def test_numbers_of_pictures_out_of_range(number):
    with pytest.raises(UserError, match=rf"between 5 and \d+\. Received: pictures={number}"):
        choose_pictures(number)
