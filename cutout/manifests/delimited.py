"""Delimited files: CSV, TSV and similar formats, read as rows of cells."""

import csv
import re
from collections.abc import Callable, Iterator, Sequence

from cutout.manifests.column_names import DELIMITER_WORDS
from cutout.manifests.lines import RecordLines
from cutout.manifests.records import LONGEST_RECORD, ManifestError, Record, RecordContent, reject

# If two occur equally often in the header, the first wins: it is rarer in column names.
DELIMITERS = ("\t", "|", ";", ",")
WORDS = {**DELIMITER_WORDS, "\\t": "\t"}
FORBIDDEN = frozenset('"\r\n\0 ')
# Line that Excel writes above the header.
SEPARATOR_LINE = re.compile(r'"?sep=([,;\t|])"?\s*', re.IGNORECASE)
QUOTED = re.compile(r'"[^"]*"')

# The csv module has one limit for the whole process, and its default is too small for a long description.
csv.field_size_limit(max(csv.field_size_limit(), 2 * LONGEST_RECORD))

ReadCells = Callable[[int, Sequence[str]], RecordContent]
"""Callback that reads the cells of the row that begins in the given line."""


def read_delimiter(word: str) -> str:
    """Return the delimiter that an option names: a character, or a word such as `tab`. Raises ValueError."""
    character = WORDS.get(word.lower(), word)
    if len(character) != 1 or character in FORBIDDEN:
        raise ValueError(
            f"{word[:20]!r} is not a delimiter; give one character, such as ; or |, or the word tab"
        )
    return character


def find_delimiter(header: str) -> str:
    """Return the delimiter that occurs most often in the header line outside quotes; a comma if none does."""
    bare = QUOTED.sub("", header)
    best = max(DELIMITERS, key=bare.count)
    return best if best in bare else ","


def is_blank(cells: Sequence[str]) -> bool:
    return not cells[0].strip() and not any(map(str.strip, cells))


def read_rows(lines: RecordLines, delimiter: str, *, name: str) -> Iterator[list[str]]:
    """Yield rows without blank lines; at each, `lines` has the row's first line and its fault.

    Raises ManifestError where a quote is not closed: what follows cannot be parsed.
    """
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        try:
            for cells in reader:
                if cells:
                    yield cells
                lines.begin()
        except csv.Error as error:
            if lines.ended or len(lines.held) > 1:
                raise _unclosed(lines, delimiter, name) from error
            lines.fault = "has a quote that is not doubled inside quotes; double it"
            yield [lines.held[0].rstrip("\r\n")]
            lines.begin()
        else:
            return


def _unclosed(lines: RecordLines, delimiter: str, name: str) -> ManifestError:
    opening_line = lines.begun + _line_of_last_quote(lines.held, delimiter)
    return ManifestError(
        f"{name} cannot be read further: the quote that opens in line {opening_line} is not closed, or one"
        " inside it is not doubled; fix that line or export the file again"
    )


def _line_of_last_quote(held: list[str], delimiter: str) -> int:
    """Return how many lines into the record the field begins at which the csv module failed."""
    text = "".join(held)
    field = re.compile(rf'(?:"(?:[^"]|"")*+"|(?!")[^{re.escape(delimiter)}\r\n]*+){re.escape(delimiter)}')
    offset = 0
    while found := field.match(text, offset):
        offset = found.end()
    lines = 0
    for line in held:
        if offset < len(line):
            break
        offset -= len(line)
        lines += 1
    return lines


def read_records(
    rows: Iterator[list[str]], lines: RecordLines, width: int, delimiter: str, read: ReadCells
) -> Iterator[Record]:
    """Yield a record for each row that is not blank.

    Spreadsheets omit empty cells at the end of a row, or add some: such a row is fitted to the header. A row
    with more values is rejected as a whole.
    """
    for cells in rows:
        if is_blank(cells):
            continue
        fault = lines.fault
        if fault is None and len(cells) == width:
            yield Record(lines.begun, tuple(cells), *read(lines.begun, cells))
        elif fault is None and not any(map(str.strip, cells[width:])):
            fitted = [*cells[:width], *[""] * (width - len(cells))]
            yield Record(lines.begun, tuple(cells), *read(lines.begun, fitted))
        else:
            reason = fault or (
                f"has {len(cells)} cells where the header has {width}; check for a delimiter"
                " outside quotes, or set another with `--delimiter`"
            )
            whole = reject(lines.begun, "", delimiter.join(cells), reason)
            yield Record(lines.begun, tuple(cells), (), (whole,))
