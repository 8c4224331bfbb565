"""A line of the table."""

from dataclasses import dataclass

from bench.table import line, verdict


@dataclass(frozen=True)
class Row:
    """One measurement in seconds, without the attack and with it, and whether the goal was reached."""

    what: str
    alone: float
    attacked: float
    goal: str
    reached: bool

    def __str__(self) -> str:
        alone, attacked = f"{self.alone:.3f} s", f"{self.attacked:.3f} s"
        return line(self.what, alone, attacked, self.goal, verdict(self.reached))
