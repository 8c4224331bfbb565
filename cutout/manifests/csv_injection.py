"""CSV injection: escape of cells that a spreadsheet would run as a formula."""

import unicodedata

from cutout.text import find_unusable

SIGNS = frozenset("=+-@")
STARTS = SIGNS | frozenset("\t\r\n")


def escape_cell(text: str | None) -> str | None:
    """Return the text, prefixed by an apostrophe if a spreadsheet would run it as a formula."""
    return f"'{text}" if text and (text[0] in STARTS or _begins_with_sign(text)) else text


def _begins_with_sign(text: str) -> bool:
    """Whether the first visible character is a sign, of any width: importers trim and fold."""
    if text[0].isalnum():
        return False
    for character in text:
        if not character.isspace() and character != "\0" and not find_unusable(character):
            return unicodedata.normalize("NFKC", character)[:1] in SIGNS
    return False
