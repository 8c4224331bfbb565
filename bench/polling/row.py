"""A line of the table."""

from dataclasses import dataclass

from bench.table import line, verdict


@dataclass(frozen=True)
class Row:
    """One measurement: its name, value and upper bound."""

    what: str
    measured: float
    goal: float
    unit: str

    def __str__(self) -> str:
        measured, goal = f"{self.measured:.3g} {self.unit}", f"{self.goal:g} {self.unit}"
        return line(self.what, measured, goal, verdict(self.measured <= self.goal))
