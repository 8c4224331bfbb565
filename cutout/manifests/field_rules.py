"""Field rules: valid values of a picture's fields, and texts for invalid ones."""

from cutout.enums import PRIORITIES, Priority, ReturnForm
from cutout.text import CONTROL, name_fault

LONGEST_EXTERNAL_ID = 255
LONGEST_SOURCE = 2048

RETURN_FORMS: dict[str, ReturnForm | None] = {"": None} | {form.value: form for form in ReturnForm}
"""By the word in a cell; an empty cell means the caller's default."""

RANKS: dict[str, Priority | None] = {"": None, **PRIORITIES}
"""By the word in a cell; an empty cell means the caller's default."""

# Surrogates by which Python represents undecodable bytes of a file name.
UNDECODED_BASE, UNDECODED_FIRST, UNDECODED_LAST = 0xDC00, "\udc80", "\udcff"


def external_id_fault(value: str) -> str | None:
    """Return the fault of an external id with its remedy, or None."""
    if not value:
        return "is empty; give each picture its own id"
    if len(value) > LONGEST_EXTERNAL_ID:
        return f"has {len(value)} characters; use 1 to {LONGEST_EXTERNAL_ID}"
    return character_fault(value) or name_fault(value)


def source_fault(value: str) -> str | None:
    """Return the fault of a source with its remedy, or None. Whether it leads to a picture is not checked."""
    if not value:
        return "is empty; name the picture's address or file"
    if len(value) > LONGEST_SOURCE:
        return f"has {len(value)} characters; use at most {LONGEST_SOURCE}"
    return character_fault(value)


def character_fault(value: str) -> str | None:
    # isprintable is fast and true for nearly all; the rest may be rare letters, which are valid.
    if value.isprintable() or not (found := CONTROL.search(value)):
        return None
    if UNDECODED_FIRST <= found[0] <= UNDECODED_LAST:
        byte = ord(found[0]) - UNDECODED_BASE
        return f"has the byte 0x{byte:02X} at position {found.start() + 1}, which is not UTF-8; rename it"
    return f"has the control character U+{ord(found[0]):04X} at position {found.start() + 1}; remove it"


def return_form_fault(value: str) -> str | None:
    if value in RETURN_FORMS:
        return None
    return (
        f"is not one of {', '.join(ReturnForm)}; use one of them, leave it empty, or if the column is your"
        " own, say so with `--map return_form=`"
    )


def priority_fault(value: str) -> str | None:
    if value in RANKS:
        return None
    return (
        f"is not one of {', '.join(PRIORITIES)}; use one of them, leave it empty, or if the column is your"
        " own, say so with `--map priority=`"
    )


def readable(name: str) -> str:
    r"""Return the name with each undecodable byte as an escape such as `\xE9`."""
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
