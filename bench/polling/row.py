"""A line of the table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """What was measured, how it came out, and the most that it may be."""

    what: str
    measured: float
    goal: float
    unit: str

    def __str__(self) -> str:
        verdict = "reached" if self.measured <= self.goal else "**missed**"
        return f"| {self.what} | {self.measured:.3g} {self.unit} | {self.goal:g} {self.unit} | {verdict} |"
