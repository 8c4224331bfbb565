"""Counts of what the score flags: cutouts as they are, and broken in each way."""

from dataclasses import dataclass, field

from bench.score.breaking import WAYS
from bench.score.photos import Cutout
from cutout.outputs.score.suspicion import Suspicion, suspicion

FLAGGED_FROM = 0.5


@dataclass
class Rating:
    """Flagged cutouts of one set; `caught` counts the broken ones by way, of `size` each."""

    size: int = 0
    caught: dict[str, int] = field(default_factory=lambda: dict.fromkeys(WAYS, 0))
    false_alarms: list[str] = field(default_factory=list)
    flagged_faults: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    @property
    def caught_in_all(self) -> int:
        return sum(self.caught.values())

    @property
    def broken_in_all(self) -> int:
        return self.size * len(WAYS)


def rate(cutouts: list[Cutout]) -> Rating:
    """Score each cutout as it is and broken in each way; another picture's alpha is the next one's."""
    rating = Rating(size=len(cutouts))
    for cutout, following in zip(cutouts, cutouts[1:] + cutouts[:1], strict=True):
        if is_flagged(suspicion(cutout.picture, cutout.alpha)):
            (rating.false_alarms if cutout.is_good else rating.flagged_faults).append(cutout.name)
        for way, break_ in WAYS.items():
            found = suspicion(cutout.picture, break_(cutout.alpha, following.alpha))
            if is_flagged(found):
                rating.caught[way] += 1
            else:
                rating.missed.append(f"{cutout.name}: {way} ({found.score:.2f})")
    return rating


def is_flagged(found: Suspicion) -> bool:
    return found.score >= FLAGGED_FROM
