"""A line of the table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One measurement: its name, value, goal, and whether the goal was reached (None: no goal)."""

    what: str
    measured: str
    goal: str = ""
    reached: bool | None = None

    @property
    def verdict(self) -> str:
        return {None: "", True: "reached", False: "**missed**"}[self.reached]
