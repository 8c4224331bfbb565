"""A line of the table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One measurement in seconds, without the attack and with it, and whether the goal was reached."""

    what: str
    alone: float
    attacked: float
    goal: str
    reached: bool

    def __str__(self) -> str:
        verdict = "reached" if self.reached else "**missed**"
        return f"| {self.what} | {self.alone:.3f} s | {self.attacked:.3f} s | {self.goal} | {verdict} |"
