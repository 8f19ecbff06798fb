"""CLIP's byte-pair encoding against its definition in plain Python, on learned merges."""

import collections
import itertools
import re

import pytest
import regex
import tensorflow as tf

from vl_models.text.clip_bpe import CLIPTokenizer
from vl_models.text.normalize import normalize_batch

CORPUS = """
the quick brown fox jumps over the lazy dog and the other dogs run after the brown horse
birthday cake with candles, happy birthday to you! a photo of a cat on the sofa, cats and kittens
red heart, red hearts; they're sunglasses and it's summer: the sun is smiling at the sea in 2024
生日蛋糕上有蜡烛,祝你生日快乐 红色的心 一只猫在沙发上 一只狗在海滩上奔跑 戴墨镜的笑脸
生日礼物 红色的汽车
a person riding a bicycle along the river while two children play football in the green garden
mountains under snow, a wooden bridge over clear water, an orange umbrella and a yellow raincoat
fresh vegetables at the market: tomatoes, potatoes, carrots and strawberries; chocolate ice cream
一个人骑着自行车沿着河边走 两个孩子在绿色的花园里踢足球 雪山下的木桥 黄色的雨衣和橙色的雨伞
市场上的新鲜蔬菜 西红柿 土豆 胡萝卜和草莓 巧克力冰淇淋 生日快乐 birthday birthday
大海边的太阳 快乐的小狗和小猫 生日快乐 红心 café naïve über straße ñandú ½ ﬁre №5 😀 🎂 ❤ 👩‍👩‍👧
"""
MERGE_COUNT = 500
LENGTH = 16

# The pattern of CLIP's tokeniser (Radford et al. 2021, section 2.4; its published program).
PATTERN = regex.compile(
    r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", regex.IGNORECASE
)


def byte_alphabet():
    """GPT-2's: printable bytes stand for themselves, the others for characters from U+0100 on."""
    visible = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or 174 <= b <= 255]
    rest = [b for b in range(256) if b not in visible]
    return {b: chr(b) for b in visible} | {b: chr(256 + i) for i, b in enumerate(rest)}


ALPHABET = byte_alphabet()


def words_of(text):
    return PATTERN.findall(re.sub(r"\s+", " ", text).strip().lower())


def spell(word):
    symbols = [ALPHABET[byte] for byte in word.encode("utf-8")]
    return [*symbols[:-1], symbols[-1] + "</w>"]


def merge_everywhere(symbols, pair):
    merged, index = [], 0
    while index < len(symbols):
        if tuple(symbols[index : index + 2]) == pair:
            merged.append("".join(pair))
            index += 2
        else:
            merged.append(symbols[index])
            index += 1
    return merged


def learn_merges(text, count):
    """Sennrich et al. 2016, algorithm 1: again and again the most frequent pair."""
    counts = collections.Counter(words_of(text))
    spelled = {word: spell(word) for word in counts}
    merges = []
    while len(merges) < count:
        pairs = collections.Counter()
        for word, symbols in spelled.items():
            for pair in itertools.pairwise(symbols):
                pairs[pair] += counts[word]
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        spelled = {word: merge_everywhere(symbols, best) for word, symbols in spelled.items()}
    return merges


MERGES = learn_merges(CORPUS, MERGE_COUNT)
RANKS = {pair: rank for rank, pair in enumerate(MERGES)}
TOKENIZER = CLIPTokenizer(MERGES, LENGTH)


def reference_ids(text, length=LENGTH):
    """Start, pieces, end and zeros; truncated so that the end stays."""
    order = sorted(ALPHABET.values(), key=lambda c: list(ALPHABET.values()).index(c))
    vocabulary = [*order, *(c + "</w>" for c in order), *("".join(pair) for pair in MERGES)]
    ids = {token: index for index, token in enumerate(vocabulary)}
    start, end = len(vocabulary), len(vocabulary) + 1
    pieces = []
    for word in words_of(text):
        symbols = spell(word)
        while len(symbols) > 1:
            best = min(itertools.pairwise(symbols), key=lambda p: RANKS.get(p, len(RANKS)))
            if best not in RANKS:
                break
            symbols = merge_everywhere(symbols, best)
        pieces += [ids[symbol] for symbol in symbols]
    pieces = [start, *pieces[: length - 2], end]
    return pieces + [0] * (length - len(pieces))


TEXTS = [
    "the quick brown foxes",
    "Happy BIRTHDAY to you!",
    "生日快乐",
    "生日蛋糕 with candles",
    "一只红色的小猫在海边",
    "they're it's we'll I'd you've 's",
    "!!! ?! ,.;: -- ...",
    "2024 1 22 3x3",
    "",
    "   ",
    "\t\n the \n",
    "😀",
    "😀😀🎂 birthday❤️",
    "👩‍👩‍👧 family",
    "café naïve straße ñandú",
    "a",
    "the " * 30,
    "生日快乐" * 10,
    "unknownwordwithoutanymerges zzzz",
    "<|endoftext|> in a text",
    "日本語のテキスト 한국어 русский עברית",
]


def test_there_are_enough_merges_of_both_languages():
    assert len(MERGES) == MERGE_COUNT
    made = ["".join(pair) for pair in MERGES]
    assert "birthday</w>" in made
    assert "".join(spell("生日快乐")) in made


@pytest.mark.parametrize("text", TEXTS)
def test_ids_are_those_of_the_definition(text):
    ids = TOKENIZER.tokenize(tf.constant([text]))["token_ids"][0].numpy().tolist()
    # Normalised alike: what the definition says is about normalised text.
    [normalized] = normalize_batch([text])
    assert ids == reference_ids(normalized)


def test_a_batch_gives_the_rows_of_its_texts():
    ids = TOKENIZER.tokenize(tf.constant(TEXTS))["token_ids"].numpy().tolist()
    assert ids == [reference_ids(text) for text in normalize_batch(TEXTS)]


def test_truncation_keeps_the_end_token():
    for text in ("the " * 30, "生日快乐" * 10):
        batch = TOKENIZER.tokenize(tf.constant([text]))
        assert batch["token_ids"][0, -1] == TOKENIZER.end_id
        assert bool(tf.reduce_all(batch["text_mask"]))


def test_the_mask_is_known_from_the_ids_alone():
    batch = TOKENIZER.tokenize(tf.constant([*TEXTS, "!! a"]))
    mask = TOKENIZER.text_mask(batch["token_ids"])
    assert bool(tf.reduce_all(mask == batch["text_mask"]))
    # "!" inside a word has id 0, as padding has.
    ids = batch["token_ids"][-1].numpy()
    assert ids[1] == 0 and mask[-1].numpy().tolist() == [True] * 5 + [False] * (LENGTH - 5)
