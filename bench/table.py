"""Tables of measurements as Markdown lines: the only thing that a bench prints on its standard output."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

REACHED, MISSED = "reached", "**missed**"
FIGURES = ("What", "Measured", "Goal", "")


def verdict(reached: bool | None) -> str:  # noqa: FBT001 - the one thing that it turns into a word
    """Word for a goal that was reached or missed; empty where there is no goal."""
    return "" if reached is None else REACHED if reached else MISSED


def head(*names: str) -> str:
    """First two lines of a table: the names of its columns, and the rule below them."""
    return f"{line(*names)}\n|{'---|' * len(names)}"


def line(*cells: object) -> str:
    """One line of a table."""
    return "|" + "".join(f" {cell} |" if str(cell) else " |" for cell in cells)


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement: its name, value, goal, and whether the goal was reached (None: no goal)."""

    what: str
    measured: str
    goal: str = ""
    reached: bool | None = None

    def __str__(self) -> str:
        return line(self.what, self.measured, self.goal, verdict(self.reached))


def figures(rows: Iterable[Figure]) -> list[str]:
    """Lines of a table of figures."""
    return [head(*FIGURES), *map(str, rows)]


def put(lines: str | Iterable[str]) -> None:
    """Print lines at once, so that whoever reads them sees each as soon as it is measured."""
    for one in [lines] if isinstance(lines, str) else lines:
        print(one, flush=True)


def say(text: str) -> None:
    """Report progress on standard error, where it is no part of a table."""
    print(text, file=sys.stderr, flush=True)


def misses(lines: Sequence[str]) -> int:
    """Number of rows of these lines that miss their goal."""
    return sum(part.count(MISSED) > 0 for one in lines for part in one.split("\n"))
