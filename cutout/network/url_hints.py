"""Hints for texts that are nearly URLs: what is wrong, and what to write."""

import re
import unicodedata

LONGEST_SHOWN = 120

# Invisible characters that copying from pages and chats leaves at the ends; `str.strip` removes none of them.
INVISIBLE = "\u00ad\u034f\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u2060\u2061\u2062\u2063\u2064\ufeff"
INVISIBLE += "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufff9\ufffa\ufffb"

BROKEN_SCHEME = re.compile(
    r"(?:https?(?::\\+|:/(?!/)|//+|;//+|:\s+//+|:(?![/\s]))"
    r"|(?:htp|htps|htpps?|htttps?|hhttps?|ttps?)://)(?P<rest>[^\s/\\:][^\s/\\:.]*+\.\S*+)",
    re.IGNORECASE,
)
PROPER = re.compile(r"(?:https?|s3)://(?![/\\])", re.IGNORECASE)
TWICE = re.compile(r"https?://(?P<second>https?://)", re.IGNORECASE)
LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
# A name with a dot, four numbers, or a port: folders rarely have such names.
HOST = re.compile(
    rf"(?:localhost|(?:{LABEL}\.)+(?:[A-Za-z]{{2,}}|[0-9]{{1,3}}))(?P<port>:[0-9]{{1,5}})?(?=[/?#])", re.ASCII
)
WRAPPED = re.compile(
    r"""["'<(\[]+(?=[A-Za-z]+://)|=(?:HYPERLINK|IMAGE)\(|<[a-z][^>]*(?:src|href)\s*=""", re.IGNORECASE
)


def not_an_address(text: str) -> str | None:
    """Return the fault of a text that is nearly a URL, with the text to write; None if there is none."""
    if fault := invisible_ends(text):
        return fault
    if text.startswith("//") and HOST.match(text[2:] + "/"):
        return f"is an address without its scheme; write https:{_shown(text)}"
    if text[:4].lower() == "www.":
        return f"is an address without its scheme; write https://{_shown(text)}"
    if text[:5].lower() == "data:":
        return "holds the picture itself; save it to a file, or give its https:// address"
    if WRAPPED.match(text):
        return "is an address inside quotes, brackets or a formula; write the address only"
    if twice := TWICE.match(text):
        return f"has two schemes; write {_shown(text[twice.start('second') :])}"
    if PROPER.match(text):
        return None
    if broken := BROKEN_SCHEME.fullmatch(text):
        return f"is nearly an address; write https://{_shown(broken['rest'].replace(chr(92), '/'))}"
    return None


def perhaps_an_address(text: str) -> str | None:
    """Return the URL that a text without a scheme may be; None if it looks like a file name."""
    return f"https://{_shown(text)}" if HOST.match(text) else None


def invisible_ends(text: str) -> str | None:
    """Return the fault of a text that begins or ends with an invisible character, or None."""
    bare = text.strip(INVISIBLE)
    if bare == text or not bare:
        return None
    begins = text[0] in INVISIBLE
    found = text[0] if begins else text[-1]
    name = unicodedata.name(found, "").lower()
    shown = f"U+{ord(found):04X}{f' ({name})' if name else ''}"
    return f"{'begins' if begins else 'ends'} with the invisible character {shown}; remove it"


def _shown(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"
