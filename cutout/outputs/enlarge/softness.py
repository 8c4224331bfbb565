"""Softness of a mask: how far it is from the colours at its edges; and sharpening of a soft one.

A mask from a network that works at a lower resolution has wider edges than the picture. Where the near
colours of subject and background differ, each cell's alpha is also known from its colour: its place on the
line between both.
"""

from dataclasses import dataclass

import numpy as np

from cutout.outputs.enlarge.box import extremes, outline
from cutout.outputs.enlarge.near_colours import HALF, NearColours, near_colours
from cutout.outputs.enlarge.tiles import Bytes, Flags, Floats, Grid, Tiles, as_tiles, padded

# Distance of the near colours, in levels, from which alpha can be told from the colour.
_DISTINCT = np.float32(0.15 * 255)
# Range of the mask in a window, in levels, from which it is sharpened, and over which it is sharpened wholly.
_RANGE_FROM, _RANGE_WIDTH = np.float32(0.12 * 255), np.float32(0.3 * 255)
# Softness above which a mask is sharpened, unless the endpoint's setting says otherwise. With sharp masks of
# eight drawn scenes it was 0.02 to 0.06, with soft ones 0.07 to 0.14, but 0.02 where the picture itself is
# defocused.
SOFT = 0.06
# A colour line is steeper if it is further from half transparent than the mask by this factor. Of seven drawn
# scenes it was 0.95 to 1.01 with sharp masks, and 1.11 to 1.25 with soft ones that were not defocused.
_STEEPER = 1.05
_MIDDLE = np.float32(127.5)


@dataclass(frozen=True)
class Judged:
    """A mask's softness, which is its mean distance from the colour line, 0 to 1; and the mask sharpened.

    `near` are the colours that it was judged by.
    """

    softness: float
    is_soft: bool
    sharpened: Bytes
    near: NearColours


def judged(colours: Bytes, alpha: Bytes) -> Judged:
    """Return the softness of a mask over its outline, and the mask brought to the colours' line there.

    `colours` is the sent picture, (rows, columns, 3).
    """
    near = near_colours(colours, alpha)
    height, width = alpha.shape
    grid = Grid.of((width, height), near.size, (1 / HALF, 1 / HALF))
    lowest, highest = extremes(alpha)
    size = (padded(height), padded(width))
    planes = np.zeros((7, *size), np.uint8)
    planes[:3, :height, :width] = colours.transpose(2, 0, 1)
    planes[3, :height, :width] = alpha
    planes[4, :height, :width] = highest - lowest
    planes[5, :height, :width] = outline(alpha)
    planes[6] = planes[3]
    by_tile = [as_tiles(plane) for plane in planes]
    seen = _Seen()
    flags: Flags = np.any(as_tiles(planes[5]), axis=(2, 3))
    for tiles in Tiles.flagged(flags, 0, len(flags)).chunks():
        at = tiles.rows, tiles.columns
        line, distance = _colour_line(
            np.stack([plane[at] for plane in by_tile[:3]], axis=1), grid.interpolated(near.planes, tiles)
        )
        bought = by_tile[3][at].astype(np.float32)
        weight = np.clip((by_tile[4][at] - _RANGE_FROM) / _RANGE_WIDTH, 0, 1) * (distance > _DISTINCT)
        seen.add(bought[weight > 0], line[weight > 0])
        by_tile[6][at] = np.rint(bought + weight * (line - bought))
    is_soft = seen.softness > SOFT and seen.is_steeper
    return Judged(seen.softness, is_soft, planes[6, :height, :width].copy(), near)


@dataclass
class _Seen:
    """Sums over the cells whose alpha is known from their colour."""

    cells: int = 0
    distance: float = 0.0
    contrast: float = 0.0
    line_contrast: float = 0.0

    def add(self, bought: Floats, line: Floats) -> None:
        self.cells += len(bought)
        self.distance += _sum(bought - line)
        self.contrast += _sum(bought - _MIDDLE)
        self.line_contrast += _sum(line - _MIDDLE)

    @property
    def softness(self) -> float:
        return self.distance / self.cells / 255 if self.cells else 0.0

    @property
    def is_steeper(self) -> bool:
        return self.line_contrast > _STEEPER * self.contrast


def _sum(differences: Floats) -> float:
    return float(np.abs(differences).sum(dtype=np.float64))


def _colour_line(colours: Bytes, near: Floats) -> tuple[Floats, Floats]:
    """Return alpha by the place of each colour between those near it, in levels, and their distance."""
    subject, background = near[:, :3], near[:, 3:]
    line = subject - background
    squared = np.einsum("ncij,ncij->nij", line, line)
    along = np.einsum("ncij,ncij->nij", colours - background, line)
    alpha: Floats = np.clip(along / np.maximum(squared, 1) * 255, 0, 255)
    return alpha, np.sqrt(squared)
