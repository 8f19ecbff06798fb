"""What keys of JSON and columns of tables are called where people keep captions."""

from __future__ import annotations

import re

# The first one that is there names the image.
IMAGE_KEYS = (
    "image",
    "image_name",
    "image_file",
    "image_filename",
    "image_path",
    "filename",
    "file_name",
    "filepath",
    "file_path",
    "img",
    "img_name",
    "img_path",
    "photo",
    "picture",
    "file",
    "path",
    "image/key",
    "image_id",
    "img_id",
)
# All of these that are there hold captions; else the first of the others does.
TEXT_KEYS = ("caption", "captions", "text", "texts", "sentence", "sentences")
OTHER_TEXT_KEYS = (
    "caption_text",
    "caption_str",
    "comment",
    "comments",
    "description",
    "title",
    "raw",
    "alt_text",
    "alt",
)
# A list of single words under one of these is one caption.
SINGULAR = ("caption", "text", "sentence", "comment", "description", "title", "raw")
SPLIT_KEYS = ("split",)
LANGUAGE_KEYS = ("language", "lang", "locale", "image/locale")

# ISO 639-1, and the codes of three letters that caption sets use.
_CODES = (
    "aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy "
    "da de dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu "
    "hy hz ia id ie ig ii ik in io is it iu iw ja ji jv ka kg ki kj kk kl km kn ko kr ks ku kv kw "
    "ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mo mr ms mt my na nb nd ne ng nl nn no nr nv "
    "ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg sh si sk sl sm sn so sq sr "
    "ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo "
    "za zh zu "
    "ara ben ceb ces cmn deu ell eng fas fil fin fra hin hun ind ita jpn kor mri nld nor pol por "
    "quz ron rus spa swa swe tel tha tur ukr und urd vie yue zho zxx"
)
_LANGUAGES = frozenset(_CODES.split())
_SCRIPTS = "arab|armn|beng|cyrl|deva|ethi|geor|grek|gujr|guru|hans|hant|hebr|jpan|kore|latn|thai"
_LANGUAGE = re.compile(rf"([a-z]{{2,3}})(?:[-_](?:{_SCRIPTS}))?(?:[-_](?:[a-z]{{2}}|\d{{3}}))?")
_WITH_TEXT = re.compile(
    r"(?:caption|text|sentence)s?[-_](?P<last>.+)|(?P<first>.+)[-_](?:caption|text|sentence)s?"
)
# Codes that are words of databases, too: Indonesian, Norwegian.
_AMBIGUOUS = ("id", "no")


def normal(key: str) -> str:
    """Return a key in the form of the tables here: no blanks around it, small letters, `_`."""
    return re.sub(r"[\s-]+", "_", key.strip().lower())


def is_language(code: str) -> bool:
    """Whether a text is a language's code, with script and region or without."""
    found = _LANGUAGE.fullmatch(code.strip().lower())
    return found is not None and found.group(1) in _LANGUAGES


def language_of(key: str, value: object) -> str | None:
    """Return the language that a key names, as in `zh`, `zh-Hans`, `caption_zh`, `en_captions`.

    Args:
        key: as it is in the file.
        value: what it holds. A single text under `id` is not Indonesian.
    """
    with_text = _WITH_TEXT.fullmatch(key.strip().lower())
    code = key.strip()
    if with_text:
        group = "last" if with_text["last"] else "first"
        code = code[slice(*with_text.span(group))]
    if not is_language(code):
        return None
    return None if code.lower() in _AMBIGUOUS and not isinstance(value, list | dict) else code
