"""Cells that a spreadsheet must not run."""

STARTS = frozenset("=+-@\t\r")


def safe(text: str | None) -> str | None:
    """The text, led by an apostrophe if a spreadsheet would take it for a formula."""
    return f"'{text}" if text and text[0] in STARTS else text
