"""File kinds: pictures are recognised by name where that is enough, else by their first bytes."""

import importlib.util
import re
from functools import cache

PICTURE_ENDINGS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".png", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".gif"}
)
ENDINGS_OF_PICTURES = PICTURE_ENDINGS | {".heic", ".heif", ".hif", ".avif"}
LOOKED_FOR = f"looked for {' '.join(sorted(PICTURE_ENDINGS))}, and for pictures under other names"
# Suffixes that programs append to the ending: photo.jpg_large, photo.jpg~1, photo.png!small.
ENDING = re.compile(r"(\.(?:jpe?g|png|webp|gif|bmp|tiff?))[^A-Za-z0-9.][^.]*", re.IGNORECASE)

ENOUGH_BYTES = 64
NO_PICTURE, EMPTY, UNREADABLE = "no picture", "empty", "cannot be read"
CAMERA_RAW = "camera raw: develop it to JPEG or TIFF"
HEIC = "HEIC, which this installation does not decode: install the extra `heif`, or save it as JPEG"
AVIF = "AVIF, which this installation does not decode: install a newer Pillow, or save it as JPEG"
PHOTOSHOP = "Photoshop document: save it as PNG or TIFF"
OTHER_PICTURE = "picture of an unsupported kind: save it as JPEG or PNG"


def _endings(names: str) -> frozenset[str]:
    return frozenset(f".{name}" for name in names.split())


RAW_ENDINGS = _endings("""
    3fr ari arw bay cap cr2 cr3 crw dcr dcs dng drf eip erf fff gpr iiq k25 kdc mdc mef mos mrw nef nrw
    orf pef ptx pxn raf raw rw2 rwl rwz sr2 srf srw x3f
""")
# Objects with these endings are not opened: that would be a request for each.
OTHER_ENDINGS = _endings("""
    7z aac ai aif aifc aiff avi bak bz2 c cfg class cpp css csv dat db dll dmg doc docx eot eps epub exe
    flac gz h htm html ics idx indd ini iso jar java js json jsonl key less lock log m4a m4v map md mkv
    mov mp3 mp4 mpeg mpg ndjson numbers odp ods odt ogg ogv otf pages parquet pdf php pkl ppt pptx ps py
    rar rb rtf sass scss sh sql sqlite srt svg svgz swf tar tgz toml tsv ttf txt url vcf vtt wav webm wma
    wmv woff woff2 xls xlsm xlsx xml xmp xz yaml yml zip zst
""")
SUPPORTED_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
OTHER_STARTS = {
    b"8BPS": PHOTOSHOP,
    b"\0\0\0\x0cjP  ": OTHER_PICTURE,
    b"\xff\x4f\xff\x51": OTHER_PICTURE,
    b"\xff\x0a": OTHER_PICTURE,
    b"\0\0\0\x0cJXL ": OTHER_PICTURE,
    b"\0\0\x01\0": OTHER_PICTURE,
    b"FUJIFILMCCD-RAW": CAMERA_RAW,
    b"IIRO": CAMERA_RAW,
    b"IIU\0": CAMERA_RAW,
    b"FOVb": CAMERA_RAW,
    b"\0MRM": CAMERA_RAW,
}
RAW_MARKS = {b"CR\x02": 8}
HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
AVIF_BRANDS = frozenset({b"avif", b"avis"})
# A BMP declares the size of its header.
BMP_HEADERS = frozenset({12, 16, 40, 52, 56, 64, 108, 124})


def is_picture_name(name: str) -> bool:
    """Whether the ending is that of a supported picture."""
    return ending_of(name).lower() in PICTURE_ENDINGS


def ending_of(name: str) -> str:
    """Return the last ending of the name, with its dot; empty for `.name` and `name.`."""
    file = name.rpartition("/")[2]
    dot = file.rfind(".")
    return file[dot:] if 0 < dot < len(file) - 1 else ""


def stem_of(name: str) -> str:
    """Return the name without a picture's ending; any other ending belongs to the name."""
    suffix = ending_of(name)
    is_picture = suffix.lower() in ENDINGS_OF_PICTURES or ENDING.fullmatch(suffix)
    return name.removesuffix(suffix) if is_picture else name


def reason_by_name(name: str) -> str | None:
    """Return the reason to skip a file with this name, whatever its content; None if its bytes decide."""
    return CAMERA_RAW if ending_of(name).lower() in RAW_ENDINGS else None


def is_surely_other(name: str) -> bool:
    """Whether the ending is that of a document, film or data file."""
    return ending_of(name).lower() in OTHER_ENDINGS


def reason_by_bytes(start: bytes) -> str | None:
    """Return the reason to skip a file that begins with these bytes; None for a supported picture."""
    if not start:
        return EMPTY
    for begin, reason in OTHER_STARTS.items():
        if start.startswith(begin):
            return reason
    if any(start[offset:].startswith(mark) for mark, offset in RAW_MARKS.items()) and start[:2] in {
        b"II",
        b"MM",
    }:
        return CAMERA_RAW
    if start.startswith(SUPPORTED_STARTS) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP"):
        return None
    if start[:2] == b"BM" and int.from_bytes(start[14:18], "little") in BMP_HEADERS:
        return None
    if start[4:8] == b"ftyp":
        return _reason_of_brands(start)
    return NO_PICTURE


def _reason_of_brands(start: bytes) -> str | None:
    """Classify an ISO media file by its brands, the major one first."""
    length = int.from_bytes(start[:4], "big")
    box = start[8 : max(8, min(length, len(start)))]
    brands = [box[:4], *(box[offset : offset + 4] for offset in range(8, len(box), 4))]
    if AVIF_BRANDS.intersection(brands):
        return None if decodes_avif() else AVIF
    if HEIF_BRANDS.intersection(brands):
        return None if decodes_heic() else HEIC
    return CAMERA_RAW if brands[0] == b"crx " else NO_PICTURE


@cache
def decodes_heic() -> bool:
    """Whether this installation can decode HEIC. Imports nothing."""
    return importlib.util.find_spec("pillow_heif") is not None


@cache
def decodes_avif() -> bool:
    """Whether this installation can decode AVIF. Imports Pillow's package but no decoder."""
    return importlib.util.find_spec("PIL._avif") is not None
