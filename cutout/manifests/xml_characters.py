"""Characters that XML does not allow: replaced before parsing, so that only one item is rejected.

Each is replaced by a private-use character, which the parser accepts as text.
"""

import re
from collections.abc import Iterator

# Control characters, surrogates and the two noncharacters; character references; a bare `&`, or that of an
# entity that XML does not define; a `<` that begins no tag; CDATA.
SUSPECT = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]"
    r"|&#(?P<decimal>[0-9]{1,10});|&#[xX](?P<hexadecimal>[0-9a-fA-F]{1,8});"
    r"|&(?!(?:amp|lt|gt|quot|apos);)"
    r"|<(?![A-Za-z_:/!?\u0080-\U0010ffff])"
    r"|<!\[CDATA\[|\]\]>"
)
CDATA, CDATA_END = "<![CDATA[", "]]>"
# Maximum length of a character reference.
LONGEST_REFERENCE = 14
FIRST_STAND_IN, AMPERSAND, LESS_THAN, OTHER = 0x10FD00, 0x26, 0x3C, 0xFF
STAND_IN = re.compile(f"[{chr(FIRST_STAND_IN)}-{chr(FIRST_STAND_IN + OTHER)}]")
ENTITY = re.compile(r"[A-Za-z_:][\w.:-]{0,40};")
ALLOWED = ((0x9, 0xA), (0xD, 0xD), (0x20, 0xD7FF), (0xE000, 0xFFFD), (0x10000, 0x10FFFF))


class Characters:
    """Replacer for text in chunks; a sequence that may continue in the next chunk is held back."""

    def __init__(self) -> None:
        self._held = ""
        self._in_cdata = False

    def replaced(self, chunk: str, *, final: bool = False) -> str:
        text = self._held + chunk
        end = len(text) if final else _end_of_whole(text)
        self._held = text[end:]
        return "".join(self._pieces(text[:end]))

    def _pieces(self, text: str) -> Iterator[str]:
        offset = 0
        for found in SUSPECT.finditer(text):
            code = self._code_of(found)
            if code is not None:
                yield text[offset : found.start()]
                yield chr(FIRST_STAND_IN + min(code, OTHER))
                offset = found.end()
        yield text[offset:]

    def _code_of(self, found: re.Match[str]) -> int | None:
        """Return the code point that is not allowed; None if the match is valid."""
        text = found[0]
        if text == CDATA:
            self._in_cdata = True
        elif text == CDATA_END:
            self._in_cdata = False
        elif text[0] not in "&<":
            return ord(text)
        elif not self._in_cdata:
            if len(text) == 1:
                return ord(text)
            code = int(found["decimal"] or found["hexadecimal"], 10 if found["decimal"] else 16)
            return None if any(first <= code <= last for first, last in ALLOWED) else code
        return None


def character_fault(text: str) -> str | None:
    """Return the fault of a text with a stand-in, and its remedy; None if it has none."""
    found = STAND_IN.search(text)
    if not found:
        return None
    code = ord(found[0]) - FIRST_STAND_IN
    if code == AMPERSAND and (entity := ENTITY.match(text, found.end())):
        return (
            f"has the entity &{entity[0]} at position {found.start() + 1}, which XML does not define; write"
            " the character itself"
        )
    if code in {AMPERSAND, LESS_THAN}:
        written = "&amp;" if code == AMPERSAND else "&lt;"
        return f"has a bare {chr(code)} at position {found.start() + 1}; write {written}"
    what = "a character that XML does not allow" if code == OTHER else f"the control character U+{code:04X}"
    return f"has {what} at position {found.start() + 1}; remove it"


def restored(text: str) -> str:
    """Return the text with the original characters in place of stand-ins."""
    return STAND_IN.sub(_original, text)


def _original(found: re.Match[str]) -> str:
    code = ord(found[0]) - FIRST_STAND_IN
    return "\ufffd" if code == OTHER else chr(code)


def _end_of_whole(text: str) -> int:
    """Return the offset of the part that may continue in the next chunk."""
    begin = max(0, len(text) - LONGEST_REFERENCE)
    ampersand = text.rfind("&", begin)
    if ampersand >= 0 and ";" not in text[ampersand:]:
        return ampersand
    for length in range(min(len(CDATA), len(text)), 0, -1):
        if CDATA.startswith(text[-length:]) or CDATA_END.startswith(text[-length:]):
            return len(text) - length
    return len(text)
