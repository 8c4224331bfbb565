"""Pages of this folder: a bench's tables stand between two markers, and nothing else of a page is written."""

import re
from collections.abc import Sequence
from pathlib import Path

from bench.registry import Bench

PAGES = Path(__file__).parent
END = "<!-- end -->"
MARKER = re.compile(r"^<!-- table: (\w+) -->$", re.MULTILINE)


class ReadmeError(Exception):
    """The markers of a bench are missing, or what it printed cannot stand between them."""


def begin(name: str) -> str:
    """Marker above the tables of a bench."""
    return f"<!-- table: {name} -->"


def marked(text: str) -> list[str]:
    """Names of the benches that have markers, in order."""
    return MARKER.findall(text)


def with_tables(text: str, name: str, lines: Sequence[str]) -> str:
    """Return the text with these lines between the markers of one bench. Raises ReadmeError."""
    if any(END in line or "<!-- table:" in line for line in lines):
        raise ReadmeError(f"{name} printed a marker")
    if marked(text).count(name) != 1:
        raise ReadmeError(f"its page must have the line {begin(name)} once")
    before, marker, rest = text.partition(f"{begin(name)}\n")
    inside, end, after = rest.partition(END)
    if not end or MARKER.search(inside):
        raise ReadmeError(f"its page has no line {END} behind {begin(name)}")
    tables = "\n".join(lines).strip("\n")
    return f"{before}{marker}{tables}\n{end}{after}"


def write(bench: Bench, lines: Sequence[str]) -> None:
    """Put the lines between the markers of a bench in its page. Raises ReadmeError."""
    path = PAGES / bench.page
    path.write_text(with_tables(path.read_text(), bench.name, lines))
