"""Differences between a picture in a form that the endpoint made and one derived from its RGBA."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

_OPAQUE = 255
_LEVELS = 256


@dataclass(frozen=True)
class FormDifference:
    """Difference of a bought form from the derived one, in levels of 0 to 255 over all channels.

    `mean` and `largest` are None if the sizes differ.
    """

    encoding: str
    bought_size: tuple[int, int]
    derived_size: tuple[int, int]
    mean: float | None
    largest: int | None


def difference(bought: Image.Image, derived: Image.Image, encoding: str) -> FormDifference:
    """Difference of two pictures of one mode; `encoding` is the bought one's."""
    if bought.size != derived.size:
        return FormDifference(encoding, bought.size, derived.size, None, None)
    counts = _level_counts(ImageChops.difference(bought, derived))
    mean, largest = _mean(counts), int(np.flatnonzero(counts)[-1])
    return FormDifference(encoding, bought.size, derived.size, mean, largest)


def crop_difference(bought: Image.Image, derived: Image.Image, encoding: str) -> FormDifference:
    """Difference of two RGBA crops in alpha and in colours on white: those under alpha 0 are arbitrary."""
    seen = [(*on_white(one).split(), one.getchannel("A")) for one in (bought, derived)]
    return difference(Image.merge("RGBA", seen[0]), Image.merge("RGBA", seen[1]), encoding)


def crop_box(alpha: Image.Image, size: tuple[int, int]) -> tuple[int | None, tuple[int, int, int, int]]:
    """Lowest alpha whose bounding box has this size, and the box; else None and the box of alpha above 0."""
    levels = np.asarray(alpha)
    rows, columns = levels.max(axis=1), levels.max(axis=0)
    boxes = {level: _box(rows >= level, columns >= level) for level in range(1, _LEVELS)}
    for level, (left, top, right, bottom) in boxes.items():
        if (right - left, bottom - top) == size:
            return level, (left, top, right, bottom)
    return None, boxes[1]


def _box(rows: NDArray[np.bool_], columns: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    if not rows.any():
        return 0, 0, 0, 0
    down, right = np.flatnonzero(rows), np.flatnonzero(columns)
    return int(right[0]), int(down[0]), int(right[-1]) + 1, int(down[-1]) + 1


def edge_difference(rgba: Image.Image, sent: Image.Image) -> tuple[int, float | None]:
    """Number of pixels with 0 < alpha < 255, and their mean difference in colour from the sent picture."""
    edge = rgba.getchannel("A").point(lambda level: _OPAQUE if 0 < level < _OPAQUE else 0)
    pixels = edge.histogram()[_OPAQUE]
    if not pixels:
        return 0, None
    return pixels, _mean(_level_counts(ImageChops.difference(rgba.convert("RGB"), sent), edge))


def _level_counts(image: Image.Image, mask: Image.Image | None = None) -> NDArray[np.int64]:
    """Number of values of each level over all channels, where the mask is not 0."""
    counts: NDArray[np.int64] = np.array(image.histogram(mask), np.int64).reshape(-1, _LEVELS).sum(axis=0)
    return counts


def _mean(counts: NDArray[np.int64]) -> float:
    return float(counts @ np.arange(_LEVELS) / counts.sum())


def on_white(rgba: Image.Image) -> Image.Image:
    """An RGBA picture composited over white, RGB."""
    white = Image.new("RGB", rgba.size, "white")
    white.paste(rgba, mask=rgba.getchannel("A"))
    return white
