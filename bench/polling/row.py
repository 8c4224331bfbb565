"""A line of the table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One measurement: its name, value and upper bound."""

    what: str
    measured: float
    goal: float
    unit: str

    def __str__(self) -> str:
        verdict = "reached" if self.measured <= self.goal else "**missed**"
        return f"| {self.what} | {self.measured:.3g} {self.unit} | {self.goal:g} {self.unit} | {verdict} |"
