"""Text rules: characters that names and ids may not have, escaping for a terminal, cutting of messages.

Control characters, line and paragraph separators, direction marks and zero-width characters make two ids look
equal, reverse the text behind them, or end a line of a log. A joiner (U+200C, U+200D) is part of the writing
of many languages, and is allowed between two characters that are not ASCII.
"""

import re
import unicodedata

# Unicode's Cc, Cs, Zl and Zp; Cf except visible number signs; and other ignorable characters.
CONTROLS = "\\u0000-\\u001f\\u007f-\\u009f"
HALVES = "\\ud800-\\udfff"
SEPARATORS = "\\u2028\\u2029"
INVISIBLE = (
    "\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180e\\u200b\\u200e\\u200f\\u202a-\\u202e\\u2060-\\u206f"
    "\\u3164\\ufeff\\uffa0\\ufff0-\\ufffb\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
)
REFUSED = f"{CONTROLS}{SEPARATORS}{INVISIBLE}"
JOINER = "[\\u200c\\u200d]"

UNUSABLE = re.compile(f"[{REFUSED}{HALVES}]|(?<![^\\x00-\\x7f]){JOINER}|{JOINER}(?![^\\x00-\\x7f])")
CONTROL = re.compile(f"[{CONTROLS}{HALVES}]")
# A schema need not exclude surrogates: JSON has none.
PATTERN = f"^[^{REFUSED}]*$"


def find_unusable(text: str) -> re.Match[str] | None:
    """Find the first character that a name or id may not have."""
    return None if text.isascii() and text.isprintable() else UNUSABLE.search(text)


def name_fault(text: str) -> str | None:
    """Describe the first wrong character of a name or id, and the remedy; None if there is none."""
    found = find_unusable(text)
    if found is None:
        return None
    return f"has the {_described(found[0])} at position {found.start() + 1}; remove it"


def _described(character: str) -> str:
    kind = "control" if unicodedata.category(character) == "Cc" else "invisible"
    name = unicodedata.name(character, "").lower()
    return f"{kind} character U+{ord(character):04X}{f' ({name})' if name else ''}"


def visible(text: str) -> str:
    r"""Escape invisible and control characters of a text: `\x1b`, `\n`, `\u202e`."""
    if text.isascii() and text.isprintable():
        return text
    return UNUSABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


LONGEST_MESSAGE = 500


def cut(message: str | None) -> str | None:
    """Cut a message to LONGEST_MESSAGE characters."""
    return message if message is None else message[:LONGEST_MESSAGE]
