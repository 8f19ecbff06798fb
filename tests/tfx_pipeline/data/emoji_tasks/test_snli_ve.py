import collections

import numpy as np

from tfx_pipeline.data.emoji_tasks.snli_ve import LABELS, snli_ve_lines


def test_labels_follow_from_the_words_and_are_balanced(pictures):
    lines = snli_ve_lines(pictures, "train", np.random.default_rng(4))
    by_id = {picture.image_id: picture for picture in pictures}
    counts = collections.Counter()
    for line in lines:
        picture = by_id[line["Flickr30K_ID"]]
        assert picture.split == "train"
        language = "en" if line["sentence2"].isascii() else "zh"
        word = line["sentence2"].removeprefix("this has to do with ").removeprefix("这和")
        word = word.removesuffix("有关")
        own = word in picture.words[language]
        near, group = (
            any(word in other.words[language] for other in pictures if name(other) == name(picture))
            for name in (lambda one: one.group, lambda one: one.top_group)
        )
        expected = "entailment" if own else "neutral" if near else "contradiction"
        assert line["gold_label"] == expected
        assert own or near or not group
        counts[language, expected] += 1
    for language in ("en", "zh"):
        assert len({counts[language, label] for label in LABELS}) == 1
    assert len(counts) == 2 * len(LABELS)
    assert len({line["pairID"] for line in lines}) == len(lines)


def test_a_sentence_does_not_tell_its_label(pictures):
    for split in ("train", "test"):
        lines = snli_ve_lines(pictures, split, np.random.default_rng(4))
        labels = collections.defaultdict(collections.Counter)
        for line in lines:
            labels[line["sentence2"]][line["gold_label"]] += 1
        for counts in labels.values():
            assert len(set(counts.values())) == 1 and set(counts) == set(LABELS)
