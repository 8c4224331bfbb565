"""Detection of a manifest's format by its content."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import BinaryIO

from cutout.manifests.column_names import NEEDED, Header, require_targets
from cutout.manifests.decoding import count_breaks, decoded, find_encoding
from cutout.manifests.delimited import SEPARATOR_LINE, find_delimiter, is_blank, read_records, read_rows
from cutout.manifests.google import google_reader, is_google
from cutout.manifests.google_xml import read_feed
from cutout.manifests.gunzip import unpacked
from cutout.manifests.lines import RecordLines, Text, bounded_lines
from cutout.manifests.ndjson import read_ndjson
from cutout.manifests.plain import has_plain_columns, plain_reader
from cutout.manifests.records import LONGEST_RECORD, ManifestError, Record
from cutout.manifests.shopify import MappedShopifyCells, has_products, is_shopify, shopify_reader

SHOPIFY = "Shopify product export"
GOOGLE = "Google Merchant feed"
NDJSON = "NDJSON manifest"
CHECKED_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class Manifest:
    """A recognised manifest. Its records can be iterated once and are read while iterating.

    Iterating raises ManifestError where no more can be read, after the records before that point.
    """

    kind: str
    encoding: str
    """Codec to write the manifest back with; `utf-8-sig` and `utf-16` write the mark that Excel needs."""
    records: Iterator[Record]
    header: tuple[str, ...] = ()
    """First row as written; empty if the format has none."""
    delimiter: str | None = None
    makes_ids: bool = False
    """Whether ids of several pictures of a product are made of the product's id."""
    kept: tuple[str, ...] = ()
    """Columns kept with each record; for NDJSON they are known only record by record."""

    @property
    def kept_columns(self) -> tuple[str, ...] | None:
        """Columns whose values are kept with a record; None if they are known only record by record."""
        return None if self.kind == NDJSON else self.kept

    def __iter__(self) -> Iterator[Record]:
        return self.records


def open_manifest(
    stream: BinaryIO,
    *,
    name: str,
    encoding: str | None = None,
    columns: Mapping[str, str] | None = None,
    delimiter: str | None = None,
    many: bool = False,
) -> Manifest:
    """Detect the format and read up to the header. `name` is used in messages.

    `delimiter` is that of a delimited file whose header does not show it. With `many` one id may belong to
    several pictures, which are numbered later. `encoding` is used for a file without a byte order mark, UTF-8
    by default. `columns` maps targets to columns, as from `parse_columns`. If it maps external_id or source,
    a delimited file is read as a plain manifest even if it is a known export.

    Raises ManifestError if the manifest cannot be read, ValueError if `columns` maps something that cannot be
    mapped; errors of `stream.read` pass through.
    """
    mapped = dict(columns or {})
    require_targets(mapped)
    if "position" in mapped and not many:
        raise ManifestError(
            f"the column {mapped['position'][:60]!r} is mapped as position, by which pictures of one id are"
            " numbered: use `--many` as well"
        )
    chunks = unpacked(stream, name=name)
    first = next(chunks, b"")
    codec = find_encoding(first, encoding, name=name)
    text = _find_start(decoded(chain((first,), chunks), codec, name=name), name=name)
    match text.start.lstrip()[0]:
        case "{":
            return Manifest(NDJSON, codec, read_ndjson(text, mapped, name=name, many=many))
        case "<":
            return Manifest(GOOGLE, codec, read_feed(text, mapped, name=name), makes_ids=True)
        case "[":
            raise ManifestError(
                f"{name} is a JSON array; write one object a line, for instance with `jq -c '.[]'`"
            )
        case _:
            return _open_delimited(text, mapped, codec, name=name, delimiter=delimiter, many=many)


def _find_start(texts: Iterator[str], *, name: str) -> Text:
    """Return the text from its first line that is not blank.

    Raises ManifestError if there is none, or if it is binary.
    """
    start = ""
    for text in texts:
        start += text
        if start.strip() or len(start) > LONGEST_RECORD:
            break
    if not start.strip():
        raise ManifestError(
            f"{name} is empty, or begins with too many blanks; name a manifest or export it again"
        )
    blank = start[: len(start) - len(start.lstrip())]
    offset = 1 + max(blank.rfind("\n"), blank.rfind("\r"))
    _refuse_binary(start[offset:], name)
    return Text(count_breaks(start[:offset]) + 1, start[offset:], texts)


def _refuse_binary(start: str, name: str) -> None:
    line = start.partition("\n")[0][:CHECKED_CHARACTERS]
    if "\0" not in line:
        return
    if set(line[1::2]) == {"\0"}:
        raise ManifestError(
            f"{name} looks like UTF-16 without its byte order mark; use `--encoding utf-16-le`"
        )
    if set(line[::2]) == {"\0"}:
        raise ManifestError(
            f"{name} looks like UTF-16 without its byte order mark; use `--encoding utf-16-be`"
        )
    raise ManifestError(f"{name} is not text: its first line has NUL bytes; export it as CSV, TSV or NDJSON")


def _open_delimited(
    text: Text, mapped: Mapping[str, str], codec: str, *, name: str, delimiter: str | None, many: bool
) -> Manifest:
    lines = bounded_lines(text, name=name)
    first, begun = next(lines), text.line
    if separator := SEPARATOR_LINE.fullmatch(first):
        delimiter, begun = delimiter or separator[1], begun + 1
    else:
        delimiter, lines = delimiter or find_delimiter(first), chain((first,), lines)
    record_lines = RecordLines(lines, name=name, begun=begun)
    rows = read_rows(record_lines, delimiter, name=name)
    header = _read_header(rows, record_lines, name)
    records = partial(read_records, rows, record_lines, len(header.names), delimiter)
    if mapped.keys().isdisjoint(NEEDED) and not has_plain_columns(header):
        if is_shopify(header):
            shopify = shopify_reader(header, mapped)
            checked = shopify.products.reject_without_picture(records(shopify))
            return Manifest(SHOPIFY, codec, checked, header.names, delimiter, makes_ids=True)
        if is_google(header):
            google = records(google_reader(header, mapped))
            return Manifest(GOOGLE, codec, google, header.names, delimiter, makes_ids=True)
    kind = "TSV manifest" if delimiter == "\t" else "CSV manifest"
    plain = plain_reader(header, mapped, many=many)
    if "source" in mapped and has_products(header):
        variants = MappedShopifyCells(header, mapped["source"], plain)
        checked = variants.products.reject_without_picture(records(variants))
        return Manifest(kind, codec, checked, header.names, delimiter, kept=plain.kept)
    return Manifest(kind, codec, records(plain), header.names, delimiter, kept=plain.kept)


def _read_header(rows: Iterator[list[str]], lines: RecordLines, name: str) -> Header:
    cells = next((cells for cells in rows if not is_blank(cells)), None)
    if cells is None:
        raise ManifestError(f"{name} has no line with the names of columns; export it again")
    if lines.fault:
        raise ManifestError(
            f"the names of columns in line {lines.begun} of {name} cannot be read: it {lines.fault}"
        )
    return Header(cells, file=name)
