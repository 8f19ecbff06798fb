"""Names, keywords and groups of emoji from Debian's copy of the Unicode CLDR."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from xml.etree import ElementTree

from vl_models.errors import UserError

CLDR = Path("/usr/share/unicode/cldr/common")
PACKAGE = "unicode-cldr-core"
_VARIATION_SELECTOR = "\ufe0f"


@dataclasses.dataclass(frozen=True)
class Annotation:
    """What one language calls a character: its short name and its keywords."""

    name: str
    keywords: tuple[str, ...]


def read_annotations(language: str, root: Path = CLDR) -> dict[str, Annotation]:
    """Annotations of a language by character; only characters that have a name.

    Raises:
        UserError: the file is not there; names the package to install.
    """
    names: dict[str, str] = {}
    keywords: dict[str, tuple[str, ...]] = {}
    file = installed(root / f"annotations/{language}.xml", PACKAGE)
    for element in ElementTree.parse(file).iter("annotation"):
        character, text = element.get("cp", ""), (element.text or "").strip()
        if element.get("type") == "tts":
            names[character] = text
        else:
            keywords[character] = tuple(word.strip() for word in text.split("|"))
    return {
        character: Annotation(name, keywords.get(character, ()))
        for character, name in names.items()
        if name
    }


def read_groups() -> dict[str, str]:
    """Group of each character, as `Food & Drink/food-fruit`; a character's first one.

    Raises:
        UserError: the file is not there; names the package to install.
    """
    groups: dict[str, str] = {}
    file = installed(CLDR / "properties/labels.txt", PACKAGE)
    for line in file.read_text("utf-8").splitlines():
        if not line.startswith("["):
            continue
        # The set itself may hold a semicolon; the two labels are the last fields.
        members, group, subgroup = (field.strip() for field in line.rsplit(";", 2))
        for character in _unicode_set(members):
            groups.setdefault(character, f"{group}/{subgroup}" if subgroup else group)
    return groups


def _unicode_set(text: str) -> list[str]:
    r"""Members of a flat UnicodeSet: characters, ranges a-z, {sequences}, \-escapes."""
    members: list[str] = []
    for token in re.finditer(r"\{([^}]*)\}|(\\.|[^\\])-(\\.|.)|(\\.|.)", text[1:-1]):
        sequence, first, last, single = token.groups()
        if sequence is not None:
            members.append(sequence.replace(_VARIATION_SELECTOR, ""))
        elif first is not None:
            members.extend(map(chr, range(ord(first[-1]), ord(last[-1]) + 1)))
        elif single != _VARIATION_SELECTOR:
            members.append(single[-1])
    return members


def installed(path: Path, package: str) -> Path:
    """Return the path of a file of a Debian package.

    Raises:
        UserError: it is not there; names the package to install.
    """
    if not path.is_file():
        raise UserError(
            f"{path}: no such file. Install the Debian package {package} "
            f"(apt-get install {package})."
        )
    return path
