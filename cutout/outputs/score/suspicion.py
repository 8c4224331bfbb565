"""Suspicion that a cutout is wrong: an advice on what a person should see first, never a failure."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from cutout.outputs.score import alignment_measures, alpha_measures, colour_measures
from cutout.outputs.score.evidence import Evidence, gather
from cutout.outputs.score.rules import RULES
from cutout.outputs.score.small_copy import make_small_copy

MEASURES: dict[str, Callable[[Evidence], float | None]] = {
    "area_low": alpha_measures.visible_area,
    "area_high": alpha_measures.area,
    "semi": alpha_measures.semi,
    "softness": alpha_measures.softness,
    "haze": alpha_measures.haze,
    "islands": alpha_measures.islands,
    "stray": alpha_measures.stray,
    "main_part": alpha_measures.main_part,
    "border_kept": alpha_measures.border_kept,
    "across": alpha_measures.across,
    "corners": alpha_measures.corners,
    "left": colour_measures.left,
    "kept": colour_measures.kept,
    "kept_area": colour_measures.kept_area,
    "holes": colour_measures.holes,
    "edges": colour_measures.edges,
    "faint": colour_measures.faint,
    "border_background": colour_measures.border_background,
    "clutter": colour_measures.clutter,
    "displacement": alignment_measures.displacement,
    "growth": alignment_measures.growth,
    "unrest": alignment_measures.unrest,
}


@dataclass(frozen=True)
class Reason:
    """A measure beyond `from_`, where it begins to be suspicious; from `certain` on it is surely wrong.

    `text` is a sentence for a person who knows the catalog and not the measure.
    """

    measure: str
    value: float
    from_: float
    certain: float
    text: str


@dataclass(frozen=True)
class Suspicion:
    """Score from 0, nothing found, to 1, surely wrong; the reasons, the strongest first."""

    score: float
    reasons: tuple[Reason, ...]


def suspicion(sent: Image.Image, alpha: Image.Image) -> Suspicion:
    """Judge an alpha, mode L, by the picture that was sent, mode RGB and of the same size.

    The score is 1 - prod(1 - v) over the suspicions v of all measures. Raises ValueError on another mode or
    size; any size of at least one pixel is scored.
    """
    evidence = gather(make_small_copy(sent, alpha))
    found: list[tuple[float, Reason]] = []
    for rule in RULES:
        value = MEASURES[rule.measure](evidence)
        degree = 0.0 if value is None else rule.suspicion(value)
        if value is not None and degree > 0:
            found.append((degree, Reason(rule.measure, value, rule.from_, rule.certain, rule.text)))
    found.sort(key=lambda one: -one[0])
    return Suspicion(1 - math.prod(1 - degree for degree, _ in found), tuple(reason for _, reason in found))
