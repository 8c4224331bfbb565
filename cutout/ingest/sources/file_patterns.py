"""Which files of a folder, archive or prefix are taken: patterns that people give."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache

EXCLUDED, NOT_INCLUDED = "excluded by a pattern", "not included by any pattern"
MOST_PATTERNS = 50
LONGEST_PATTERN = 200
# What Python ends the pattern by.
END = r"\Z"


@dataclass(frozen=True, slots=True)
class Choice:
    """Patterns as of a shell, in any letter case: one without a slash is matched with the file's name and
    each folder's above it, one with a slash with the whole path below the source, where `*` also means
    slashes. With `include` only what one of them matches is taken; `exclude` wins over it.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def reason(self, path: str) -> str | None:
        """Why the file at a path with slashes is not taken; None if it may be."""
        if self.exclude and _matches(self.exclude, path):
            return EXCLUDED
        if self.include and not _matches(self.include, path):
            return NOT_INCLUDED
        return None

    def __bool__(self) -> bool:
        return bool(self.include or self.exclude)


def pattern_fault(patterns: Sequence[str]) -> str | None:
    """What is wrong with a list of patterns, or None."""
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
    return any(_is_met(pattern.lower(), lowered) for pattern in patterns)


def _is_met(pattern: str, path: str) -> bool:
    compiled = _compiled(pattern.strip("/"))
    if "/" in pattern:
        return bool(compiled.match(path))
    return any(compiled.match(part) for part in path.split("/"))


@lru_cache(maxsize=2 * MOST_PATTERNS)
def _compiled(pattern: str) -> re.Pattern[str]:
    """Matches from the begin to the end of the path, or of a folder above it."""
    return re.compile(translate(pattern).removesuffix(END) + r"(?=/|\Z)")
