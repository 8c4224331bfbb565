"""Measures of the alpha against the picture: colours on both sides of the outline, and edges along it.

Each is None where the background cannot be estimated; those of its very colour also where it is uneven.
"""

from typing import TypeGuard

import numpy as np

from cutout.outputs.score.background import Background
from cutout.outputs.score.evidence import Evidence
from cutout.outputs.score.masks import border, grow, shrink
from cutout.outputs.score.regions import Mask, find_regions

_LEAST_OUTLINE = 8  # pixels
_RIM = 4  # pixels inside the outline
_MARGIN = 2  # pixels outside the outline that show some of the subject
_LIKE, _LIKE_NOISE = 0.02, 2.5  # distance within which a colour is the background's very own
_EVEN = 0.04  # noise up to which a background has a colour of its own
_FAR, _FAR_NOISE = 0.10, 6.0  # distance from which a colour is surely not the background's
_EDGE, _EDGE_STEPS = 0.015, 2.0  # step of colour that is an edge
_CLEAR, _LEAST_CLEAR = 0.055, 0.02  # step that is a clear one, as a share of the background's lightness


def left(evidence: Evidence) -> float | None:
    """Pixels left out that have not the background's colour, as a share of the subject."""
    background = evidence.background
    if background is None or not evidence.area:
        return None
    away = shrink(evidence.copy.outside, _MARGIN)
    return float((_is_far(background) & away).sum() / evidence.area)


def kept(evidence: Evidence) -> float | None:
    """Share of the rim inside the outline that has the background's very colour."""
    background = evidence.background
    if not _is_even(background) or evidence.outline_length < _LEAST_OUTLINE:
        return None
    rim = evidence.inside & ~shrink(evidence.inside, _RIM)
    return float((_is_like(background) & rim).sum() / rim.sum())


def kept_area(evidence: Evidence) -> float | None:
    """Share of the subject that has the background's very colour."""
    background = evidence.background
    if not _is_even(background) or not evidence.area:
        return None
    return float((_is_like(background) & evidence.inside).sum() / evidence.area)


def holes(evidence: Evidence) -> float | None:
    """Enclosed pixels left out that have not the background's colour, as a share of the subject."""
    background = evidence.background
    if background is None or not evidence.area:
        return None
    gaps = find_regions(~evidence.inside)
    enclosed = ~gaps.touch_border()
    enclosed[0] = False
    away = shrink(evidence.copy.outside, _MARGIN) & enclosed[gaps.labels]
    return float((_is_far(background) & away).sum() / evidence.area)


def edges(evidence: Evidence) -> float | None:
    """Share of the outline that has an edge of the picture within one pixel."""
    background = evidence.background
    if background is None or evidence.outline_length < _LEAST_OUTLINE:
        return None
    is_edge = background.steps > max(_EDGE, _EDGE_STEPS * background.step)
    return float(grow(is_edge, 1)[evidence.outline].mean())


def faint(evidence: Evidence) -> float | None:
    """Share of the outline without a clear edge within one pixel, as around a shadow that was kept."""
    background = evidence.background
    if background is None or evidence.outline_length < _LEAST_OUTLINE:
        return None
    clear = max(_LEAST_CLEAR, _CLEAR * float(background.colour.mean()), _EDGE_STEPS * background.step)
    return float(1 - grow(background.steps > clear, 1)[evidence.outline].mean())


def border_background(evidence: Evidence) -> float | None:
    """Share of the picture's border pixels that are kept and have the background's very colour."""
    background = evidence.background
    if not _is_even(background):
        return None
    mask = border(evidence.copy.shape)
    return float((_is_like(background) & evidence.inside)[mask].mean())


def clutter(evidence: Evidence) -> float | None:
    """Median distance of the background from its own smooth estimate."""
    return evidence.background.noise if evidence.background else None


def _is_even(background: Background | None) -> TypeGuard[Background]:
    return background is not None and background.noise <= _EVEN


def _is_like(background: Background) -> Mask:
    return np.asarray(background.plain_distance < max(_LIKE, _LIKE_NOISE * background.noise))


def _is_far(background: Background) -> Mask:
    return np.asarray(background.distance > max(_FAR, _FAR_NOISE * background.noise))
