"""Means, minima and maxima over square windows of planes; the border's cells are repeated beyond it."""

import numpy as np
from numpy.typing import NDArray

from cutout.outputs.enlarge.tiles import Bytes, Flags, Floats


def mean3(planes: Floats) -> Floats:
    """Return means over 3x3 cells of planes of shape (n, rows, columns)."""
    tall = np.pad(planes, ((0, 0), (1, 1), (0, 0)), "edge")
    summed = tall[:, :-2] + tall[:, 1:-1]
    summed += tall[:, 2:]
    wide = np.pad(summed, ((0, 0), (0, 0), (1, 1)), "edge")
    result = wide[:, :, :-2] + wide[:, :, 1:-1]
    result += wide[:, :, 2:]
    result *= np.float32(1 / 9)
    return result


def extremes(plane: Bytes, radius: int = 1) -> tuple[Bytes, Bytes]:
    """Return minima and maxima over windows of 2 * radius + 1 cells."""
    lowest = highest = plane
    for _ in range(radius):
        for axis in (0, 1):
            lowest, highest = _of_three(lowest, axis, np.minimum), _of_three(highest, axis, np.maximum)
    return lowest, highest


def _of_three(plane: Bytes, axis: int, choose: np.ufunc) -> Bytes:
    result = plane.copy()
    ahead, behind = [slice(None)] * 2, [slice(None)] * 2
    ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
    choose(result[tuple(behind)], plane[tuple(ahead)], out=result[tuple(behind)])
    choose(result[tuple(ahead)], plane[tuple(behind)], out=result[tuple(ahead)])
    return result


def outline(alpha: Bytes) -> Flags:
    """Return the cells whose 5x5 neighbours are neither all 0 nor all 255."""
    lowest, highest = extremes(alpha, 2)
    return (highest > 0) & (lowest < 255)  # noqa: PLR2004


def box_sums(planes: NDArray[np.int32], radius: int) -> NDArray[np.int32]:
    """Return sums over windows of planes of shape (n, rows, columns), of what lies inside them."""
    return _sums(_sums(planes, radius, 1), radius, 2)


def _sums(planes: NDArray[np.int32], radius: int, axis: int) -> NDArray[np.int32]:
    length = planes.shape[axis]
    until = np.cumsum(planes, axis, dtype=np.int32)
    first = np.zeros_like(until.take([0], axis))
    until = np.concatenate((first, until), axis)
    at = np.arange(length)
    ends = until.take(np.minimum(at + radius + 1, length), axis)
    ends -= until.take(np.maximum(at - radius, 0), axis)
    return ends
