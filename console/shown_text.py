"""Text from outside as it is shown: characters that would hide or reorder other text are named instead."""

import re
from typing import Any

from markupsafe import Markup

LONGEST = 2000
NONE = "—"
# Controls, what turns the direction of text, what has no width, and lone surrogates.
HIDING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def plain(text: str) -> str:
    """The text with each such character as [U+202E], and what is too long cut."""
    if len(text) <= LONGEST and text.isprintable():  # none of those is: most texts are done with
        return text
    shown = HIDING.sub(_named, text[:LONGEST])
    return f"{shown}… ({len(text):,} characters)" if len(text) > LONGEST else shown


def finalize(value: Any) -> Any:
    """Each value of a template passes this before it is escaped; markup of our own stays as it is."""
    if value is None:
        return NONE
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _named(found: re.Match[str]) -> str:
    return f"[U+{ord(found[0]):04X}]"
