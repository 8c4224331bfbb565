"""From lines to rows of cells: CSV, TSV and their kin."""

import csv
import re
from collections.abc import Callable, Iterator, Sequence

from cutout.manifests.lines import RecordLines
from cutout.manifests.records import LONGEST_RECORD, Found, ManifestError, Record, reject

# Of two that the header has as many of, the one that names of columns hold more rarely.
DELIMITERS = ("\t", "|", ";", ",")
WORDS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}
FORBIDDEN = frozenset('"\r\n\0 ')
# Excel's own line above the header.
SEPARATOR_LINE = re.compile(r'"?sep=([,;\t|])"?\s*', re.IGNORECASE)
QUOTED = re.compile(r'"[^"]*"')

# The csv module has one limit for the whole process, too small for a long description.
csv.field_size_limit(max(csv.field_size_limit(), 2 * LONGEST_RECORD))

ReadCells = Callable[[int, Sequence[str]], Found]
"""What the row that begins in the line gives."""


def read_delimiter(word: str) -> str:
    """The delimiter that a person means: one character, or `tab`. Raises ValueError."""
    character = WORDS.get(word.lower(), word)
    if len(character) != 1 or character in FORBIDDEN:
        raise ValueError(
            f"{word[:20]!r} is no delimiter; give one character, such as ; or |, or the word tab"
        )
    return character


def find_delimiter(header: str) -> str:
    """The delimiter that the header line has most of outside quotes; a comma if it has none."""
    bare = QUOTED.sub("", header)
    most = max(DELIMITERS, key=bare.count)
    return most if most in bare else ","


def is_blank(cells: Sequence[str]) -> bool:
    return not cells[0].strip() and not any(map(str.strip, cells))


def read_rows(lines: RecordLines, delimiter: str, *, name: str) -> Iterator[list[str]]:
    """Rows without the blank lines; at each, `lines` says where it begins and what is wrong with it.

    Raises ManifestError where a quote is not closed: what comes after it cannot be told apart.
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
    opened = lines.begun + _line_of_last_quote(lines.held, delimiter)
    return ManifestError(
        f"{name} cannot be read further: the quote that opens in line {opened} is not closed, or one inside"
        " it is not doubled; mend that line or export the file again"
    )


def _line_of_last_quote(held: list[str], delimiter: str) -> int:
    """How many lines into the record the field begins that the csv module failed at."""
    text = "".join(held)
    field = re.compile(rf'(?:"(?:[^"]|"")*+"|(?!")[^{re.escape(delimiter)}\r\n]*+){re.escape(delimiter)}')
    place = 0
    while found := field.match(text, place):
        place = found.end()
    lines = 0
    for line in held:
        if place < len(line):
            break
        place -= len(line)
        lines += 1
    return lines


def read_records(
    rows: Iterator[list[str]], lines: RecordLines, width: int, delimiter: str, read: ReadCells
) -> Iterator[Record]:
    """A record for each row that is not blank. Spreadsheets leave out empty cells at the end of a row, or
    write some more: such a row is as wide as the header; one with more values is rejected whole.
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
                f"has {len(cells)} cells where the header has {width}; look for a delimiter that stands"
                " outside quotes, or say another with `--delimiter`"
            )
            whole = reject(lines.begun, "", delimiter.join(cells), reason)
            yield Record(lines.begun, tuple(cells), (), (whole,))
