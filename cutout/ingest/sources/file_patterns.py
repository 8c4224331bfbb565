"""File patterns: selection of the files of a folder, archive or prefix."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache

EXCLUDED, NOT_INCLUDED = "excluded by a pattern", "not included by any pattern"
MOST_PATTERNS = 50
LONGEST_PATTERN = 200
# Suffix that fnmatch.translate() appends.
END = r"\Z"


@dataclass(frozen=True, slots=True)
class FilePatterns:
    """Include and exclude patterns, matched as by a shell, ignoring letter case.

    A pattern without a slash is matched with the file's name and the name of each folder above it, one with a
    slash with the whole path below the source, where `*` also matches slashes. With `include` only files that
    match one of its patterns are taken; `exclude` has precedence.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def reason(self, path: str) -> str | None:
        """Return the reason to skip the file at a path with slashes; None if it is selected."""
        if self.exclude and _matches(self.exclude, path):
            return EXCLUDED
        if self.include and not _matches(self.include, path):
            return NOT_INCLUDED
        return None

    def __bool__(self) -> bool:
        return bool(self.include or self.exclude)


def pattern_fault(patterns: Sequence[str]) -> str | None:
    """Return the fault in a list of patterns, or None."""
    if len(patterns) > MOST_PATTERNS:
        return f"there are {len(patterns)} patterns; give at most {MOST_PATTERNS}"
    for pattern in patterns:
        if not 0 < len(pattern) <= LONGEST_PATTERN:
            return (
                f"the pattern {pattern[:LONGEST_PATTERN]!r} does not have 1 to {LONGEST_PATTERN} characters"
            )
    return None


def _matches(patterns: Sequence[str], path: str) -> bool:
    lowered = path.lower()
    return any(_is_match(pattern.lower(), lowered) for pattern in patterns)


def _is_match(pattern: str, path: str) -> bool:
    compiled = _compiled(pattern.strip("/"))
    if "/" in pattern:
        return bool(compiled.match(path))
    return any(compiled.match(part) for part in path.split("/"))


@lru_cache(maxsize=2 * MOST_PATTERNS)
def _compiled(pattern: str) -> re.Pattern[str]:
    """Compile a pattern that matches from the start to the end of the path, or of a folder above it."""
    return re.compile(translate(pattern).removesuffix(END) + r"(?=/|\Z)")
