"""Lines of bounded length, from chunks of text."""

import io
from collections.abc import Iterable, Iterator
from itertools import chain

from cutout.manifests.records import LONGEST_RECORD, ManifestError


class Text:
    """Text in chunks, and the line of the file in which it starts. It can be iterated once."""

    def __init__(self, line: int, start: str, rest: Iterable[str]) -> None:
        self.line = line
        self.start = start
        self.rest = rest

    def __iter__(self) -> Iterator[str]:
        return chain((self.start,), self.rest)


def bounded_lines(text: Text, *, name: str) -> Iterator[str]:
    """Yield lines with their ends: LF, CRLF or CR.

    Raises ManifestError at a line longer than LONGEST_RECORD, having read little more than that.
    """
    number, rest = text.line, ""
    for chunk in text:
        lines = io.StringIO(rest + chunk, newline="").readlines()
        # A CR at the end may be the first half of a CRLF.
        rest = lines.pop() if lines and not lines[-1].endswith("\n") else ""
        if lines and len(lines[0]) > LONGEST_RECORD:
            raise _too_long(name, number)
        yield from lines
        number += len(lines)
        if len(rest) > LONGEST_RECORD:
            raise _too_long(name, number)
    if rest:
        yield rest


def _too_long(name: str, number: int) -> ManifestError:
    return ManifestError(
        f"line {number} of {name} has more than {LONGEST_RECORD:,} characters; a manifest has one"
        " record per line, export it again"
    )


class RecordLines:
    """Lines for a parser that takes as many as a record needs; the lines of the current record are kept.

    Iterating raises ManifestError once a record is longer than LONGEST_RECORD.
    """

    def __init__(self, lines: Iterable[str], *, name: str, begun: int = 1) -> None:
        self.begun = begun
        """First line of the current record, counted from 1."""
        self.held: list[str] = []
        self.fault: str | None = None
        """Fault of the current record, or None."""
        self.ended = False
        self._lines = lines
        self._name = name
        self._size = 0

    def begin(self) -> None:
        """Start the next record with the next line."""
        self.begun += len(self.held)
        self.held.clear()
        self.fault = None
        self._size = 0

    def __iter__(self) -> Iterator[str]:
        held = self.held
        for line in self._lines:
            held.append(line)
            self._size += len(line)
            if self._size > LONGEST_RECORD:
                raise ManifestError(
                    f"the record that begins in line {self.begun} of {self._name} has more than"
                    f" {LONGEST_RECORD:,} characters; check there for a quote that is not closed"
                )
            if "\0" in line:
                self.fault = "has a NUL byte; remove it"
            yield line
        self.ended = True
