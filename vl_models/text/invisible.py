r"""Characters that nobody sees: dropped, but where an emoji or a script needs them.

RE2 looks neither ahead nor back, so what must stay is matched together with its neighbours
and put back (`\1`); what is matched without a group is dropped.

Sources: Unicode Standard Annex 31, section 2.3 (joiners in Arabic and Indic scripts); Unicode
Technical Standard 51, section 1.4 (emoji sequences); property Default_Ignorable_Code_Point.
"""

from __future__ import annotations

import tensorflow as tf

_JOINERS = r"\x{200c}\x{200d}"
_EMOJI_SELECTORS = r"\x{fe0e}\x{fe0f}"
_TAGS = r"\x{e0020}-\x{e007f}"
_MONGOLIAN_SELECTORS = r"\x{180b}-\x{180d}\x{180f}"
_MONGOLIAN_SEPARATOR = r"\x{180e}"
# Each of these is needed in some place.
_CONDITIONAL = _JOINERS + _EMOJI_SELECTORS + _TAGS + _MONGOLIAN_SELECTORS + _MONGOLIAN_SEPARATOR
# And these in none: control characters but for white space, soft hyphen, grapheme joiner,
# Hangul fillers, inherent vowels of Khmer, zero-width space, marks of direction, word joiner
# and invisible operators, other variation selectors, byte order mark, annotations, controls of
# shorthand and of music, language tags.
_NEVER = (
    r"\x{00}-\x{08}\x{0e}-\x{1b}\x{7f}-\x{84}\x{86}-\x{9f}\x{ad}\x{34f}\x{61c}"
    r"\x{115f}\x{1160}\x{17b4}\x{17b5}\x{200b}\x{200e}\x{200f}\x{202a}-\x{202e}"
    r"\x{2060}-\x{206f}\x{3164}\x{fe00}-\x{fe0d}\x{feff}\x{ffa0}\x{fff0}-\x{fffb}"
    r"\x{1bca0}-\x{1bca3}\x{1d173}-\x{1d17a}\x{e0000}-\x{e001f}\x{e0080}-\x{e0fff}"
)

# The blocks of the scripts whose letters join: Arabic, Syriac, N'Ko, Mandaic; Devanagari to
# Sinhala; Myanmar; Khmer; Mongolian, without its selectors; Limbu to Vedic; Syloti Nagri to
# Meetei Mayek, without Hangul's jamo; Manichaean and Psalter Pahlavi; Hanifi Rohingya; Sogdian;
# Brahmi and its kin; Adlam.
_LETTERS = (
    r"\x{600}-\x{61b}\x{61d}-\x{77f}\x{7c0}-\x{7ff}\x{840}-\x{dff}\x{1000}-\x{109f}"
    r"\x{1780}-\x{17b3}\x{17b6}-\x{180a}\x{1810}-\x{18af}\x{1900}-\x{1cff}"
    r"\x{a800}-\x{a95f}\x{a980}-\x{abff}\x{10ac0}-\x{10aff}\x{10b80}-\x{10baf}"
    r"\x{10d00}-\x{10d3f}\x{10f30}-\x{10f6f}\x{11000}-\x{11fff}\x{1e900}-\x{1e95f}"
)
_MONGOLIAN = r"[\x{1820}-\x{1878}\x{1880}-\x{18a8}\x{18aa}]"
# From Devanagari to Sinhala. With a joiner it makes a half form, or a chillu of Malayalam, at
# the end of a word, too.
_VIRAMA = r"[\x{94d}\x{9cd}\x{a4d}\x{acd}\x{b4d}\x{bcd}\x{c4d}\x{ccd}\x{d3b}\x{d3c}\x{d4d}\x{dca}]"
# Combining marks, those of other scripts too, may come between letter and joiner: NFKC sorts
# them.
_MARKS = (
    r"\x{300}-\x{36f}\x{483}-\x{487}\x{591}-\x{5c7}\x{64b}-\x{65f}\x{670}\x{6d6}-\x{6ed}"
    r"\x{816}-\x{82d}\x{93c}\x{951}-\x{954}\x{1ab0}-\x{1aff}\x{1cd0}-\x{1cff}"
    r"\x{1dc0}-\x{1dff}\x{20d0}-\x{20ff}\x{302a}-\x{302f}\x{3099}\x{309a}\x{fe20}-\x{fe2f}"
)
# Pictographs that NFKC leaves alone, by block; a selector after another symbol does no harm.
_PICTOGRAPH = (
    r"[\x{a9}\x{ae}\x{2190}-\x{27bf}\x{2900}-\x{297f}\x{2b00}-\x{2bff}\x{3030}\x{303d}"
    r"\x{1f000}-\x{1faff}]"
)

_MONGOLIAN_PART = rf"{_MONGOLIAN}[{_MONGOLIAN_SELECTORS}]?"
_ELEMENT = (
    rf"{_VIRAMA}[{_MARKS}]*\x{{200d}}|{_MONGOLIAN_PART}(?:{_MONGOLIAN_SEPARATOR}{_MONGOLIAN_PART})*"
)
_WORD = rf"(?:{_ELEMENT}|[{_LETTERS}])(?:[{_JOINERS}]?(?:{_ELEMENT}|[{_LETTERS}{_MARKS}]))*"
_EMOJI = rf"{_PICTOGRAPH}[{_EMOJI_SELECTORS}]?(?:[\x{{e0020}}-\x{{e007e}}]+\x{{e007f}})?"
_EMOJI_SEQUENCE = rf"{_EMOJI}(?:\x{{200d}}{_EMOJI})*"
_KEYCAP = r"[0-9#*]\x{fe0f}\x{20e3}"

# A joiner stands for itself and for all invisible characters behind it.
_NEEDLESS = rf"([{_JOINERS}])[{_CONDITIONAL}{_NEVER}]+|[{_NEVER}]+"
_OUT_OF_PLACE = rf"({_WORD}|{_EMOJI_SEQUENCE}|{_KEYCAP})|[{_CONDITIONAL}]+"


def drop_needless(texts: tf.Tensor) -> tf.Tensor:
    """Drop format and control characters that nothing needs; white space stays as it is.

    Args:
        texts: string tensor of any shape.

    Returns:
        string tensor of the same shape.
    """
    return tf.strings.regex_replace(texts, _NEEDLESS, r"\1")


def drop_never_needed(texts: tf.Tensor) -> tf.Tensor:
    """Drop the characters that are needed nowhere; joiners, selectors and tags stay.

    Args:
        texts: string tensor of any shape.

    Returns:
        string tensor of the same shape.
    """
    return tf.strings.regex_replace(texts, f"[{_NEVER}]+", "")


def drop_out_of_place(texts: tf.Tensor) -> tf.Tensor:
    """Drop joiners, selectors and tags where they do nothing.

    They stay inside of emoji sequences; joiners also between letters of scripts that join, and
    after a virama; selectors and vowel separator also in Mongolian.

    Args:
        texts: string tensor of any shape: what `drop_needless` left, in the form NFKC (the
            pictographs are those that it leaves alone).

    Returns:
        string tensor of the same shape.
    """
    return tf.strings.regex_replace(texts, _OUT_OF_PLACE, r"\1")
