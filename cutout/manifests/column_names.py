"""Column names of manifests: the mapping from targets to columns, and the header."""

import re
from collections.abc import Mapping, Sequence

from cutout.manifests.records import ManifestError

NEEDED = ("external_id", "source")
TARGETS = (*NEEDED, "return_form", "priority")
MAPPABLE = (*TARGETS, "position")
MOST_SHOWN = 60
# The number of columns of an Excel sheet. The cost of a short row grows with the header.
MOST_COLUMNS = 16_384
EXAMPLE = '`external_id=SKU,source="Image URL"`'

# Longer names for characters that a shell or a table may swallow.
DELIMITER_WORDS = {"tab": "\t", "pipe": "|", "semicolon": ";", "comma": ","}

PAIR = re.compile(
    r'\s*+(?P<target>[^=,"]*+)=\s*(?:"(?P<quoted>(?:[^"]|"")*+)"\s*|(?P<bare>[^",][^,]*)?)(?P<end>,|$)',
    re.DOTALL,
)


def parse_columns(text: str) -> dict[str, str]:
    """Parse `external_id=SKU,source="Image URL"` into a dictionary from target to column.

    A column name with a comma, or one that begins with a quote, is quoted; quotes inside are doubled.
    `priority=` means that no column is the priority, not even one of that name. Raises ValueError with the
    fault.
    """
    columns: dict[str, str] = {}
    rest = text
    while True:
        pair = PAIR.match(rest)
        if not pair:
            raise ValueError(f"{rest[:200]!r} is not target=column; write {EXAMPLE}")
        target, column = pair["target"].strip(), _column(pair)
        _require_target(target, column)
        if target in columns:
            raise ValueError(f"{target} is mapped twice, to {columns[target]!r} and {column!r}; keep one")
        columns[target] = column
        if not pair["end"]:
            return columns
        rest = rest[pair.end() :]


def _column(pair: re.Match[str]) -> str:
    if pair["quoted"] is not None:
        return pair["quoted"].replace('""', '"').strip()
    return (pair["bare"] or "").strip()


def _require_target(target: str, column: str) -> None:
    if target not in MAPPABLE:
        raise ValueError(f"{target[:200]!r} cannot be mapped; map {', '.join(MAPPABLE)}")
    if target in NEEDED and not column.strip():
        raise ValueError(f"no column is named for {target}; write {EXAMPLE}")


def require_targets(columns: Mapping[str, str]) -> None:
    """Raise ValueError if `columns` maps something that cannot be mapped."""
    for target, column in columns.items():
        _require_target(target, column)


def fold(column: str) -> str:
    """Normalize a column name for comparison: without surrounding blanks, in lower case."""
    return column.strip().casefold()


class Header:
    """Column names of a delimited file, and their positions."""

    def __init__(self, names: Sequence[str], *, file: str) -> None:
        """Check and store the names. Raises ManifestError for more names than any spreadsheet has."""
        if len(names) > MOST_COLUMNS:
            raise ManifestError(
                f"{file} has {len(names):,} columns, and at most {MOST_COLUMNS:,} are accepted; remove"
                " columns that are not needed"
            )
        self.names = tuple(names)
        self.file = file
        self.folded = [fold(name) for name in names]

    def find(self, column: str) -> int | None:
        """Return the index of a column, or None; raises ManifestError if the name occurs twice."""
        folded = fold(column)
        indexes = [index for index, name in enumerate(self.folded) if name == folded]
        if len(indexes) > 1:
            raise self._repeated(column)
        return indexes[0] if indexes else None

    def _repeated(self, column: str) -> ManifestError:
        return ManifestError(
            f"{self.file} has more than one column {column.strip()[:MOST_SHOWN]!r}; rename or remove one"
        )

    def missing(self, missing: Mapping[str, str]) -> ManifestError:
        """Return the error for targets without a column."""
        absent = " and no column ".join(repr(column[:MOST_SHOWN]) for column in missing.values())
        example = ",".join(f'{target}="COLUMN"' for target in missing)
        return ManifestError(
            f"{self.file} has no column {absent}; its first line names {self._shown()}. Needed are"
            f" {' and '.join(NEEDED)}: rename the columns, or map them with `--map {example}`"
            f"{self._undivided()}"
        )

    def _undivided(self) -> str:
        """Return a hint where a name has another delimiter in it; it is empty if none has."""
        for word, delimiter in DELIMITER_WORDS.items():
            for name in self.names:
                if delimiter in name:
                    shown = name.strip()[:MOST_SHOWN]
                    return f"; if {shown!r} is more than one column, set `--delimiter {word}`"
        return ""

    def _shown(self) -> str:
        shown = [repr(name.strip()[:MOST_SHOWN]) for name in self.names[:MOST_SHOWN]]
        more = [f"{len(self.names) - MOST_SHOWN} more"] if len(self.names) > MOST_SHOWN else []
        return ", ".join(shown + more)
