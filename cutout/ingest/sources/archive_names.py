"""Member names of zip archives, decoded from the bytes of the machine that packed them (APPNOTE.TXT, 4.4.4,
4.6.9).
"""

import codecs
import struct
import zipfile
import zlib

from cutout.ingest.ingest_errors import IngestError
from cutout.manifests.decoding import TEXT_CODECS

IS_UTF_8 = 0x800
UNICODE_PATH = 0x7075
# Encoding of names without a flag, by the standard; zipfile decodes them with it.
STANDARD = "cp437"
# Version and checksum at the start of the Unicode path field.
HEADER_BYTES = 5


def known_encoding(encoding: str | None) -> str | None:
    """Return the codec of that name. Raises IngestError if it is no text encoding."""
    if encoding is None:
        return None
    try:
        codec = codecs.lookup(encoding).name
    except (LookupError, ValueError):
        codec = ""
    if not TEXT_CODECS.fullmatch(codec):
        raise IngestError(f"the encoding {encoding[:40]!r} is not known; use utf-8, cp437, cp932 or the like")
    return codec


def name_of(member: zipfile.ZipInfo, encoding: str | None) -> tuple[str, bool]:
    """Return the member's path with slashes, and whether its encoding is certain.

    A name without the UTF-8 flag is decoded as `encoding` where that works, else as UTF-8 where that works:
    text in another encoding is rarely valid UTF-8.
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
        # Newer versions of zipfile have decoded it from the Unicode path field.
        return name, True
    if (unicode_path := _unicode_path(member.extra, raw)) is not None:
        return unicode_path, True
    for codec in (encoding, "utf-8"):
        if codec:
            try:
                return raw.decode(codec), True
            except UnicodeDecodeError:
                continue
    return name, False


def _unicode_path(extra: bytes, raw: bytes) -> str | None:
    """Return the name in Info-ZIP's Unicode path field, if its checksum fits these bytes."""
    offset = 0
    while offset + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, offset)
        content = extra[offset + 4 : offset + 4 + size]
        if kind == UNICODE_PATH and len(content) > HEADER_BYTES and content[0] == 1:
            (checksum,) = struct.unpack_from("<I", content, 1)
            try:
                return content[HEADER_BYTES:].decode() if checksum == zlib.crc32(raw) else None
            except UnicodeDecodeError:
                return None
        offset += 4 + size
    return None
