"""Choice of the picture of a TIFF to cut out, and the file with this picture as the first."""

import struct
from dataclasses import dataclass, field

from cutout.images.orientation import xmp_orientation
from cutout.images.raw import raw_name
from cutout.images.tiff import (
    BITS,
    COMPRESSION,
    ICC_PROFILE,
    ORIENTATION,
    PHOTOMETRIC,
    SAMPLE_FORMAT,
    XMP,
    Directory,
    Tiff,
)

_WHITE_IS_ZERO, _BLACK_IS_ZERO = 0, 1
_SAMPLES = {1: "unsigned numbers", 2: "signed numbers", 3: "floating-point numbers", 5: "complex numbers"}
_TWELVE_BITS, _SIXTEEN_BITS = 12, 16


@dataclass(frozen=True, slots=True)
class Page:
    """A picture of a TIFF. `source` is the file with this picture as its first; `raw` names a camera raw."""

    source: bytes = field(repr=False)
    raw: str | None = None
    size: tuple[int, int] | None = None
    kind: str = ""
    is_whole: bool = False
    levels: int = 65535
    is_white_zero: bool = False
    profile: bytes = field(default=b"", repr=False)
    turn: int | None = None  # inherited from the directory above
    notes: tuple[str, ...] = ()


def choose_page(source: bytes) -> Page:
    """Choose the full-size picture of a TIFF, or detect a camera raw."""
    tiff = Tiff(source)
    raw = raw_name(tiff, source)
    if raw is not None:
        return Page(source, raw)
    chosen = tiff.full_size()
    if chosen is None:
        return Page(source)
    bits = tiff.number(chosen, BITS, 1)
    # Pillow inverts a picture with white as 0 only up to 8 bits.
    inverted = tiff.number(chosen, PHOTOMETRIC, _WHITE_IS_ZERO) == _WHITE_IS_ZERO and bits in (
        _TWELVE_BITS,
        _SIXTEEN_BITS,
    )
    return Page(
        _with_first(tiff, source, chosen, inverted=inverted),
        size=tiff.size(chosen),
        kind=_kind(tiff, chosen),
        is_whole=tiff.is_whole(chosen),
        levels=4095 if bits == _TWELVE_BITS else 65535,
        is_white_zero=inverted,
        profile=_inherited(tiff, chosen, ICC_PROFILE),
        turn=_inherited_turn(tiff, chosen),
        notes=_notes(tiff, chosen),
    )


def _with_first(tiff: Tiff, source: bytes, chosen: Directory, *, inverted: bool) -> bytes:
    """Return the file with the chosen directory first, and as black-is-zero if Pillow would not invert it."""
    changes: list[tuple[int, bytes]] = []
    if chosen is not tiff.directories[0]:
        at, size = (8, "Q") if tiff.is_big else (4, "I")
        changes.append((at, struct.pack(tiff.order + size, chosen.position)))
    if inverted and PHOTOMETRIC in chosen.entries:
        changes.append(tiff.changed(chosen, PHOTOMETRIC, _BLACK_IS_ZERO))
    if not changes:
        return source
    changed = bytearray(source)
    for offset, value in changes:
        changed[offset : offset + len(value)] = value
    return bytes(changed)


def _inherited(tiff: Tiff, chosen: Directory, tag: int) -> bytes:
    owner = tiff.owner(chosen, tag)
    return b"" if owner is None or owner is chosen else tiff.data(owner, tag)


def _inherited_turn(tiff: Tiff, chosen: Directory) -> int | None:
    if ORIENTATION in chosen.entries or XMP in chosen.entries:
        return None
    owner = tiff.owner(chosen, ORIENTATION)
    turn = tiff.number(owner, ORIENTATION) if owner is not None else 0
    return turn if 1 <= turn <= 8 else xmp_orientation(_inherited(tiff, chosen, XMP))  # noqa: PLR2004 - as EXIF


def _kind(tiff: Tiff, chosen: Directory) -> str:
    bits = ", ".join(map(str, tiff.numbers(chosen, BITS)[:8])) or "1"
    samples = _SAMPLES.get(tiff.number(chosen, SAMPLE_FORMAT, 1), "values of an unknown kind")
    return (
        f"{bits} bits a channel, {samples}, compression {tiff.number(chosen, COMPRESSION, 1)}, "
        f"colours {tiff.number(chosen, PHOTOMETRIC)}"
    )


def _notes(tiff: Tiff, chosen: Directory) -> tuple[str, ...]:
    if len(tiff.directories) == 1:
        return ()
    width, height = tiff.size(chosen)
    number = tiff.directories.index(chosen) + 1
    of_all = f"picture {number} of the TIFF's {len(tiff.directories)} taken"
    return (f"{of_all}: {width}x{height} pixels, the full-size one",)
