import collections
import re

import numpy as np
import pytest

from tfx_pipeline.data.emoji_tasks.nlvr2 import nlvr2_lines


def truth(sentence, pair):
    """Whether a sentence is true of a pair, read anew from its text."""
    words = re.findall("“(.+?)”", sentence)
    language = "en" if "picture" in sentence else "zh"
    has = [[word in picture.words[language] for picture in pair] for word in words]
    if len(words) == 2:
        return has[0][0] and has[1][1]
    return sum(has[0]) == 1 if ("only" in sentence or "只有" in sentence) else all(has[0])


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_labels_are_true_and_balanced_and_images_of_the_split(pictures, split):
    lines, images = nlvr2_lines(pictures, split, np.random.default_rng(2))
    assert len(lines) > 40
    assert {picture.split for picture in images.values()} == {split}
    labels = collections.defaultdict(list)
    for line in lines:
        pair = line["identifier"].removesuffix("-0")
        assert pair.startswith("dev-" if split == "val" else f"{split}-")
        both = [images[f"{pair}-img{side}"] for side in (0, 1)]
        assert both[0] is not both[1]
        assert line["label"] == str(truth(line["sentence"], both))
        labels[line["sentence"]].append(line["label"])
    assert all(found.count("True") == found.count("False") for found in labels.values())
    assert len({line["identifier"] for line in lines}) == len(lines)


def test_sides_are_told_by_the_same_pictures(pictures):
    lines, images = nlvr2_lines(pictures, "train", np.random.default_rng(3))
    sides = [line["identifier"][:-2] for line in lines if "left" in line["sentence"]]
    assert len(sides) >= 10
    for true, false in zip(sides[::2], sides[1::2]):
        assert images[f"{true}-img0"] is images[f"{false}-img1"]
        assert images[f"{true}-img1"] is images[f"{false}-img0"]
