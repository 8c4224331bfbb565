"""Cells that a spreadsheet must not run."""

import unicodedata

from cutout.text import find_unusable

SIGNS = frozenset("=+-@")
STARTS = SIGNS | frozenset("\t\r\n")


def safe(text: str | None) -> str | None:
    """The text, led by an apostrophe if a spreadsheet would take it for a formula."""
    return f"'{text}" if text and (text[0] in STARTS or _begins_with_sign(text)) else text


def _begins_with_sign(text: str) -> bool:
    """Whether the first character that is seen is a sign, in whatever width: importers trim and fold."""
    if text[0].isalnum():
        return False
    for character in text:
        if not character.isspace() and character != "\0" and not find_unusable(character):
            return unicodedata.normalize("NFKC", character)[:1] in SIGNS
    return False
