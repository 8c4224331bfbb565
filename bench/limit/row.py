"""A line of the table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """What was measured, how it came out, what was aimed at, and whether it was reached (None: no goal)."""

    what: str
    measured: str
    goal: str = ""
    reached: bool | None = None

    @property
    def verdict(self) -> str:
        return {None: "", True: "reached", False: "**missed**"}[self.reached]
