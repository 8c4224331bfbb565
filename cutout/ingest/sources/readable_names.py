"""Names whose bytes are no UTF-8, for people."""

from cutout.manifests.field_rules import UNDECODED_BASE, UNDECODED_FIRST, UNDECODED_LAST


def readable(name: str) -> str:
    r"""The name with each byte that is no text as `\xE9`; any other name as it is."""
    if name.isascii():
        return name
    try:
        name.encode()
    except UnicodeEncodeError:
        return "".join(map(_shown, name))
    return name


def _shown(character: str) -> str:
    if UNDECODED_FIRST <= character <= UNDECODED_LAST:
        return f"\\x{ord(character) - UNDECODED_BASE:02X}"
    return character.encode("utf-8", "backslashreplace").decode()
