"""Decoding of bytes into text, chunk by chunk."""

import codecs
import re
from collections.abc import Iterable, Iterator

from cutout.manifests.records import ManifestError

MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    # Before UTF-16: its mark is a prefix of this one.
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# Text codecs; Python also has codecs that decode other things, or decode slowly.
TEXT_CODECS = re.compile(
    r"ascii|utf-8(-sig)?|utf-(16|32)(-[lb]e)?|iso8859-\d+|cp125\d|cp(437|85[028]|866|932|949)|mac-roman"
    r"|koi8-[ru]|shift_jis|euc_(jp|kr)|gbk|gb18030|big5"
)
DECLARED = re.compile(rb"""\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")


def find_encoding(start: bytes, wanted: str | None, *, name: str) -> str:
    """Return the codec by the byte order mark, else the one wanted, else what XML declares, else UTF-8.

    Raises ManifestError for an unknown encoding.
    """
    for mark, codec in MARKS.items():
        if start.startswith(mark):
            return codec
    if wanted is not None:
        codec = _require_text_codec(wanted, f"the encoding {wanted[:40]!r}")
        if codec in {"utf-16", "utf-32"}:
            raise ManifestError(f"{name} has no byte order mark of {codec}; use `{codec}-le` or `{codec}-be`")
        return codec
    if declared := DECLARED.match(start):
        codec = _require_text_codec(
            declared[1].decode(), f"the encoding {declared[1].decode()!r} that {name} declares"
        )
        # A declaration that reads as ASCII is not UTF-16: .NET declares UTF-16 in UTF-8 files.
        return "utf-8" if codec.startswith(("utf-16", "utf-32")) else codec
    return "utf-8"


def _require_text_codec(encoding: str, described: str) -> str:
    try:
        codec = codecs.lookup(encoding).name
    except (LookupError, ValueError):
        codec = ""
    if not TEXT_CODECS.fullmatch(codec):
        raise ManifestError(f"{described} is not known; use utf-8, utf-16, latin-1, cp1252 or the like")
    return codec


def decoded(chunks: Iterable[bytes], encoding: str, *, name: str) -> Iterator[str]:
    """Yield text chunk by chunk. Raises ManifestError at an invalid byte, after the text before it."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    for chunk in chunks:
        text, error = _decode(decoder, chunk)
        line += count_breaks(text)
        yield text
        if error:
            raise _undecodable(error, encoding, line, name)
    text, error = _decode(decoder, b"", final=True)
    yield text
    if error:
        raise _undecodable(error, encoding, line, name)


def _decode(
    decoder: codecs.IncrementalDecoder, chunk: bytes, *, final: bool = False
) -> tuple[str, UnicodeDecodeError | None]:
    before = decoder.getstate()
    try:
        return decoder.decode(chunk, final), None
    except UnicodeDecodeError as error:
        decoder.setstate(before)
        kept = len(error.object) - len(chunk)
        good = chunk[: max(0, error.start - kept)]
        # The part before the invalid byte has just been decoded without an error.
        return decoder.decode(good), error


def count_breaks(text: str) -> int:
    if "\r" not in text:
        return text.count("\n")
    return text.count("\n") + text.count("\r") - text.count("\r\n")


def _undecodable(error: UnicodeDecodeError, encoding: str, line: int, name: str) -> ManifestError:
    byte = error.object[error.start]
    shown = "UTF-8" if encoding.startswith("utf-8") else encoding
    remedy = "give the encoding it was saved in" if shown == "UTF-8" else "give another"
    return ManifestError(
        f"{name} is not {shown}: the byte 0x{byte:02X} in line {line}; save it again as `CSV UTF-8`, or"
        f" {remedy}, for instance `--encoding {'utf-8' if encoding == 'iso8859-1' else 'latin-1'}`"
    )
