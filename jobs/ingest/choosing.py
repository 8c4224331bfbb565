"""Which files of a folder, archive or prefix are taken: patterns that people give."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache

EXCLUDED, NOT_INCLUDED = "excluded by a pattern", "not included by any pattern"
MOST_PATTERNS = 50
LONGEST_PATTERN = 200


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
    return any(_is_met(pattern.lower(), path.lower()) for pattern in patterns)


def _is_met(pattern: str, path: str) -> bool:
    if "/" in pattern:
        return bool(_compiled(pattern.strip("/")).match(path)) or any(
            _compiled(pattern.strip("/")).match(above) for above in _above(path)
        )
    return any(_compiled(pattern).match(part) for part in path.split("/"))


def _above(path: str) -> Iterator[str]:
    """The folders that the path lies in, each as a path."""
    place = path.find("/")
    while place >= 0:
        yield path[:place]
        place = path.find("/", place + 1)


@lru_cache(maxsize=2 * MOST_PATTERNS)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern))
