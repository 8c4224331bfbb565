"""Box of the subject in an alpha channel, without specks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

from cutout.outputs.render.regions import Regions, find_regions

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels; right and bottom are outside."""

VISIBLE = 13  # 5 % of 255
SPECK_SHARE = 0.0003  # of the subject's pixels
_GRID = 256  # cells of the longer side
_UINT8_MAX = 255


@dataclass(frozen=True, slots=True)
class SubjectBox:
    """The box of the subject, and the number of specks that do not count."""

    box: Box
    specks: int


def find_subject(alpha: Image.Image) -> SubjectBox | None:
    """Return the box of alpha >= 13 after specks under 0.03 % of those pixels are dropped; None if empty.

    Parts that are nearer to each other than 1/256 of the longer side count as one.
    """
    visible = alpha.point([0] * VISIBLE + [255] * (256 - VISIBLE))
    whole = visible.getbbox()
    if whole is None:
        return None
    part = visible.crop(whole)
    cell = -(-max(part.size) // _GRID)
    counts = _counts(part, cell)
    regions = find_regions(counts)
    large = regions.areas >= SPECK_SHARE * counts.sum()
    large[regions.areas.argmax()] = True
    specks = int((~large).sum())
    if not specks:
        return SubjectBox(whole, 0)
    left, top, right, bottom = _box_of(part, regions, large, cell)
    return SubjectBox((whole[0] + left, whole[1] + top, whole[0] + right, whole[1] + bottom), specks)


def _counts(visible: Image.Image, cell: int) -> NDArray[np.int64]:
    """Count the visible pixels in each cell of cell x cell pixels."""
    ones = np.asarray(visible) & 1
    kind = np.uint8 if cell <= _UINT8_MAX else np.uint32
    rows = np.add.reduceat(ones, np.arange(0, ones.shape[0], cell), axis=0, dtype=kind)
    return np.add.reduceat(rows, np.arange(0, ones.shape[1], cell), axis=1, dtype=np.int64)


def _box_of(visible: Image.Image, regions: Regions, large: NDArray[np.bool_], cell: int) -> Box:
    kept = Image.fromarray(regions.cells_of(large).astype(np.uint8) * 255)
    kept = kept.resize((kept.width * cell, kept.height * cell), Image.Resampling.NEAREST)
    box = ImageChops.darker(visible, kept.crop((0, 0, *visible.size))).getbbox()
    if box is None:
        raise AssertionError("the largest region has no pixel")
    return box
