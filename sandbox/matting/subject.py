"""Deciding which pixels are the subject's, holes in a like colour among them, and which are gaps or dust."""

import numpy as np

from sandbox.matting.background import Background
from sandbox.matting.colour import Mask
from sandbox.matting.regions import Regions, find_regions, grow, shrink

_EXACT = 0.015  # distance of a pixel that is its background's very colour
_EXACT_SHARE = 0.5  # an enclosed region with that share of them is a gap, not a part in a like colour
_SMALLEST_GAP = 4  # pixels
_LEAK = 4  # pixels; through a mouth this wide the background has leaked into a subject of its colour
_DUST = 0.02  # a speck has less than that share of the largest part's mass
_FAINTEST = 0.12  # and a part that is nowhere further than this from the background is a shadow


def find_subject(background: Background) -> Mask:
    subject = ~(background.shows | _gaps(background))
    if not background.tinted:
        subject = _seal_leaks(subject, background)
    return _without_specks(subject, background)


def _gaps(background: Background) -> Mask:
    """Give the enclosed regions where the background shows through."""
    away = background.distance
    regions = find_regions((away < 1.3 * background.tolerance) & ~background.shows)
    like = regions.means(away) < background.tolerance if background.tinted else _is_gap(regions, background)
    return regions.where(like & (regions.sizes() >= _SMALLEST_GAP))


def _seal_leaks(subject: Mask, background: Background) -> Mask:
    """Take back what the background reached through a narrow mouth, unless it is its very colour."""
    regions = find_regions(~grow(subject, _LEAK))
    leaked = regions.where(~regions.at_border() & ~_is_gap(regions, background))
    filled = subject | grow(leaked, _LEAK)
    crevices = shrink(grow(filled, _LEAK), _LEAK) & (background.distance > _EXACT)
    return filled | crevices


def _is_gap(regions: Regions, background: Background) -> Mask:
    return regions.means(background.distance < _EXACT) > _EXACT_SHARE


def _without_specks(subject: Mask, background: Background) -> Mask:
    regions = find_regions(grow(subject, 1))
    mass = regions.sums(background.distance * subject)
    mass[0] = 0
    peak = np.zeros(regions.count + 1, np.float32)
    np.maximum.at(peak, regions.labels.ravel(), background.distance.ravel())
    return subject & regions.where((mass >= _DUST * np.max(mass)) & (peak > _FAINTEST))
