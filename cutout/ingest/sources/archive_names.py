"""Names in zip archives: bytes of whatever machine packed them (APPNOTE.TXT, 4.4.4 and 4.6.9)."""

import codecs
import struct
import zipfile
import zlib

from cutout.ingest.ingest_errors import IngestError
from cutout.manifests.decoding import KNOWN

IS_UTF_8 = 0x800
UNICODE_PATH = 0x7075
# What the standard says of names without a flag, and what zipfile reads them as.
STANDARD = "cp437"
# Of the field of a Unicode path: a version and a checksum.
HEAD = 5


def known_encoding(encoding: str | None) -> str | None:
    """The codec of that name. Raises IngestError if it is none of texts."""
    if encoding is None:
        return None
    try:
        codec = codecs.lookup(encoding).name
    except (LookupError, ValueError):
        codec = ""
    if not KNOWN.fullmatch(codec):
        raise IngestError(f"the encoding {encoding[:40]!r} is not known; use utf-8, cp437, cp932 or the like")
    return codec


def name_of(member: zipfile.ZipInfo, encoding: str | None) -> tuple[str, bool]:
    """The member's path with slashes, and whether its encoding is certain.

    A name without the flag of UTF-8 is read as `encoding` where that fits, else as UTF-8 if it is that:
    other encodings hardly ever look so.
    """
    name, certain = _decoded(member, encoding)
    return name.replace("\\", "/"), certain


def _decoded(member: zipfile.ZipInfo, encoding: str | None) -> tuple[str, bool]:
    name = member.orig_filename.partition("\0")[0]
    if member.flag_bits & IS_UTF_8 or name.isascii():
        return name, True
    try:
        raw = name.encode(STANDARD)
    except UnicodeEncodeError:
        # Newer zipfile decoded it by the field of its own already.
        return name, True
    if (own := _unicode_path(member.extra, raw)) is not None:
        return own, True
    for codec in (encoding, "utf-8"):
        if codec:
            try:
                return raw.decode(codec), True
            except UnicodeDecodeError:
                continue
    return name, False


def _unicode_path(extra: bytes, raw: bytes) -> str | None:
    """The name in Info-ZIP's field of its own, if it belongs to these bytes."""
    place = 0
    while place + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, place)
        content = extra[place + 4 : place + 4 + size]
        if kind == UNICODE_PATH and len(content) > HEAD and content[0] == 1:
            (checksum,) = struct.unpack_from("<I", content, 1)
            try:
                return content[HEAD:].decode() if checksum == zlib.crc32(raw) else None
            except UnicodeDecodeError:
                return None
        place += 4 + size
    return None
