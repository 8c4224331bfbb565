"""Rules: the values from which a measure is suspicious and certain, and the sentence that says so."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

_TABLE = tomllib.loads((Path(__file__).parent / "rules.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Rule:
    """Suspicion is 0 at `from_` and 1 at `certain`, which is the lower one if low values are suspicious."""

    measure: str
    from_: float
    certain: float
    text: str

    def suspicion(self, value: float) -> float:
        """Suspicion of a value of the measure, 0 to 1."""
        return min(1.0, max(0.0, (value - self.from_) / (self.certain - self.from_)))


RULES = tuple(
    Rule(row["measure"], float(row["from"]), float(row["certain"]), row["text"]) for row in _TABLE["rule"]
)
SCORE_VERSION: int = _TABLE["version"]
