"""Camera raws built on TIFF: their first picture is often a preview the size of a stamp."""

from cutout.images.tiff import (
    CFA_PATTERN,
    CFA_REPEAT_DIM,
    COMPRESSION,
    DNG_VERSION,
    MAKE,
    PHOTOMETRIC,
    Directory,
    Tiff,
)

_SENSOR_COLOURS = {32803, 34892}  # colour filter array, and linear raw
_COMPRESSIONS = {
    32767: "Sony ARW",
    32769: "Epson ERF",
    32770: "Samsung SRW",
    34316: "Panasonic RW2",
    34713: "Nikon NEF",
    65000: "Kodak DCR",
    65535: "Pentax PEF",
}
_BY_MAKE = {
    "nikon": "Nikon NEF",
    "sony": "Sony ARW",
    "canon": "Canon CR2",
    "pentax": "Pentax PEF",
    "ricoh": "Pentax PEF",
    "samsung": "Samsung SRW",
    "hasselblad": "Hasselblad 3FR",
    "phase one": "Phase One IIQ",
    "leaf": "Leaf MOS",
    "mamiya": "Mamiya MEF",
    "epson": "Epson ERF",
    "kodak": "Kodak DCR",
    "eastman kodak": "Kodak DCR",
    "olympus": "Olympus ORF",
    "panasonic": "Panasonic RW2",
    "leica": "Leica RWL",
    "fujifilm": "Fujifilm RAF",
}


def raw_name(tiff: Tiff, source: bytes) -> str | None:
    """Return the maker and ending of a camera raw; None for a TIFF that can be decoded."""
    if source[8:10] == b"CR":
        return "Canon CR2"
    if source[8:12] in (b"IIII", b"MMMM"):
        return "Phase One IIQ"
    if not tiff.directories:
        return None
    if any(DNG_VERSION in directory.entries for directory in tiff.directories):
        return "DNG"
    for directory in tiff.directories:
        compression = tiff.number(directory, COMPRESSION)
        if compression in _COMPRESSIONS:
            return _COMPRESSIONS[compression]
        if tiff.number(directory, PHOTOMETRIC) in _SENSOR_COLOURS or _has_filter(directory):
            return _by_make(tiff)
    return _by_make(tiff) if _has_only_previews(tiff) else None


def _has_filter(directory: Directory) -> bool:
    return CFA_PATTERN in directory.entries or CFA_REPEAT_DIM in directory.entries


def _has_only_previews(tiff: Tiff) -> bool:
    """Whether the file has only reduced copies; the full picture is then in the maker's own format."""
    first = tiff.directories[0]
    return (
        MAKE in first.entries
        and all(tiff.is_reduced(directory) for directory in tiff.directories if min(tiff.size(directory)) > 0)
        and tiff.is_reduced(first)
    )


def _by_make(tiff: Tiff) -> str:
    make = tiff.data(tiff.directories[0], MAKE).decode("latin-1").strip("\0 ").lower()
    return next((name for maker, name in _BY_MAKE.items() if make.startswith(maker)), "of a maker not named")
