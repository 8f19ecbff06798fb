"""Names as Kubernetes takes them (RFC 1123)."""

from __future__ import annotations

import hashlib
import re

LABEL_LENGTH = 63
SUBDOMAIN_LENGTH = 253
_PART = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
LABEL = _PART
SUBDOMAIN = rf"{_PART}(\.{_PART})*"


def is_label(text: str) -> bool:
    """Whether it names a namespace, a Service or the like: letters, digits, hyphens inside."""
    return len(text) <= LABEL_LENGTH and re.fullmatch(LABEL, text) is not None


def is_subdomain(text: str) -> bool:
    """Whether it names a ServiceAccount, a Secret, a claim or the like: labels with dots."""
    return len(text) <= SUBDOMAIN_LENGTH and re.fullmatch(SUBDOMAIN, text) is not None


def label(text: str, limit: int = LABEL_LENGTH) -> str:
    """Return a label for a name, at most `limit` characters, another one for another name.

    Capitals become small letters, and what is between words a hyphen, which tells no names apart.
    What is lost beyond that is made up for by eight digits of a hash.
    """
    words = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if words and len(words) <= limit and re.fullmatch(r"[\w. -]*", text, re.ASCII):
        return words
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    head = words[: limit - len(digest) - 1].strip("-")
    return f"{head}-{digest}" if head else digest
