"""Characters that XML does not allow: replaced on the way to the parser, so that one item is at fault alone.

Each is stood in for by a character of a private range, which the parser takes as text.
"""

import re
from collections.abc import Iterator

# Control characters, halves and the two that are none; references to characters; a bare `&`; CDATA.
SUSPECT = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]"
    r"|&#(?P<decimal>[0-9]{1,10});|&#[xX](?P<hexadecimal>[0-9a-fA-F]{1,8});"
    r"|&(?![A-Za-z_:][\w.:-]*;)"
    r"|<!\[CDATA\[|\]\]>"
)
CDATA, CDATA_END = "<![CDATA[", "]]>"
# As long as a reference may be.
HELD = 14
FIRST_STAND_IN, AMPERSAND, OTHER = 0x10FD00, 0x26, 0xFF
STAND_IN = re.compile(f"[{chr(FIRST_STAND_IN)}-{chr(FIRST_STAND_IN + OTHER)}]")
ALLOWED = ((0x9, 0xA), (0xD, 0xD), (0x20, 0xD7FF), (0xE000, 0xFFFD), (0x10000, 0x10FFFF))


class Characters:
    """Replaces in text that comes by the chunk; what may go on in the next one is held back."""

    def __init__(self) -> None:
        self._held = ""
        self._in_cdata = False

    def replaced(self, chunk: str, *, final: bool = False) -> str:
        text = self._held + chunk
        end = len(text) if final else _end_of_whole(text)
        self._held = text[end:]
        return "".join(self._pieces(text[:end]))

    def _pieces(self, text: str) -> Iterator[str]:
        place = 0
        for found in SUSPECT.finditer(text):
            code = self._code_of(found)
            if code is not None:
                yield text[place : found.start()]
                yield chr(FIRST_STAND_IN + min(code, OTHER))
                place = found.end()
        yield text[place:]

    def _code_of(self, found: re.Match[str]) -> int | None:
        """Which character stands there that may not; None if nothing is wrong."""
        text = found[0]
        if text == CDATA:
            self._in_cdata = True
        elif text == CDATA_END:
            self._in_cdata = False
        elif text[0] != "&":
            return ord(text)
        elif not self._in_cdata:
            if len(text) == 1:
                return AMPERSAND
            code = int(found["decimal"] or found["hexadecimal"], 10 if found["decimal"] else 16)
            return None if any(first <= code <= last for first, last in ALLOWED) else code
        return None


def character_fault(text: str) -> str | None:
    """What is wrong with a text that has a stand-in, and what to do; None if it has none."""
    found = STAND_IN.search(text)
    if not found:
        return None
    code = ord(found[0]) - FIRST_STAND_IN
    if code == AMPERSAND:
        return f"has a bare & at place {found.start() + 1}; write &amp;"
    what = "a character that XML does not allow" if code == OTHER else f"the control character U+{code:04X}"
    return f"has {what} at place {found.start() + 1}; remove it"


def restored(text: str) -> str:
    """The text with the characters that were stood in for."""
    return STAND_IN.sub(_original, text)


def _original(found: re.Match[str]) -> str:
    code = ord(found[0]) - FIRST_STAND_IN
    return "\ufffd" if code == OTHER else chr(code)


def _end_of_whole(text: str) -> int:
    """Where the part begins that the next chunk may go on with."""
    begin = max(0, len(text) - HELD)
    ampersand = text.rfind("&", begin)
    if ampersand >= 0 and ";" not in text[ampersand:]:
        return ampersand
    for length in range(min(len(CDATA), len(text)), 0, -1):
        if CDATA.startswith(text[-length:]) or CDATA_END.startswith(text[-length:]):
            return len(text) - length
    return len(text)
