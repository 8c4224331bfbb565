"""Finding the background: what is joined to the border by smooth steps of the border's colours."""

from dataclasses import dataclass

import numpy as np

from sandbox.matting.colour import Array, Mask, distance, edge_strength
from sandbox.matting.regions import find_regions, grow
from sandbox.matting.smooth import fit_surface, spread

_BORDER_SHARE = 40  # the border is this part of the longer side
_TINT = 0.1  # mean chroma from which a background counts as tinted
_NEAR = 0.045  # distance within which a pixel is surely like its background
_FAR_FACTOR = 2.2  # so much further where there is not even half an edge: a change of light
_EDGE = 0.03  # a step of colour that the background does not cross
_REACHES = (6, 4, 4)  # cells; one for each round of finding


@dataclass(frozen=True)
class Background:
    """The background's colour at every pixel, and the pixels where it shows.

    `distance` is every pixel's distance from it, `tolerance` what its own noise makes of that.
    """

    colour: Array
    shows: Mask
    distance: Array
    tolerance: float
    tinted: bool


def find_background(pixels: Array) -> Background:
    border = _border(pixels.shape[1:])
    colour, noise = fit_surface(pixels, border)
    tinted = bool(np.hypot(colour[1], colour[2]).mean() > _TINT)
    near = max(_NEAR, 3 * noise)
    edges = edge_strength(pixels)
    edge = max(_EDGE, 4 * float(np.median(edges[border])))
    for reach in _REACHES:
        away = distance(pixels, colour, tinted=tinted)
        passable = ((away < near) & (edges < edge)) | ((away < _FAR_FACTOR * near) & (edges < edge / 2))
        regions = find_regions(passable)
        shows = regions.where(regions.at_border())
        colour = spread(pixels, shows, colour, reach)
    away = distance(pixels, colour, tinted=tinted)
    # The edges kept the last pixel before a subject out.
    shows |= grow(shows, 1) & (away < near)
    tolerance = max(0.03, 2 * float(np.median(away[shows]))) if shows.any() else 0.03
    return Background(colour, shows, away, tolerance, tinted)


def _border(shape: tuple[int, ...]) -> Mask:
    thickness = max(2, max(shape) // _BORDER_SHARE)
    border = np.ones(shape, bool)
    border[thickness:-thickness, thickness:-thickness] = False
    return border
