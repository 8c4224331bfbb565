"""Masks: connected regions, growing and shrinking."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sandbox.matting.colour import Array, Mask


@dataclass(frozen=True)
class Regions:
    """The 4-connected regions of a mask: `labels` is 0 outside them, 1 to `count` inside."""

    labels: NDArray[np.int64]
    count: int

    def sizes(self) -> NDArray[np.int64]:
        return np.bincount(self.labels.ravel(), minlength=self.count + 1)

    def sums(self, values: Array | Mask) -> NDArray[np.float64]:
        labels = self.labels.ravel()
        return np.bincount(labels, values.ravel(), minlength=self.count + 1).astype(np.float64)

    def means(self, values: Array | Mask) -> NDArray[np.float64]:
        return self.sums(values) / np.maximum(self.sizes(), 1)

    def at_border(self) -> Mask:
        """Say of each label whether its region touches the border."""
        found = np.zeros(self.count + 1, bool)
        for side in (self.labels[0], self.labels[-1], self.labels[:, 0], self.labels[:, -1]):
            found[side] = True
        return found

    def where(self, wanted: Mask) -> Mask:
        """Give the mask of the wanted labels."""
        wanted[0] = False
        chosen: Mask = wanted[self.labels]
        return chosen


def find_regions(mask: Mask) -> Regions:
    """Label a mask by its horizontal runs, joining those that touch in the next row."""
    height, width = mask.shape
    steps = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(steps == 1)
    ends = np.nonzero(steps == -1)[1]
    roots = _join_runs(np.searchsorted(rows, np.arange(height + 1)).tolist(), starts.tolist(), ends.tolist())
    kept, numbers = np.unique(np.array(roots, np.int64), return_inverse=True)
    # Adding a run's number where it starts and taking it off where it ends paints the run by a sum.
    paint = np.zeros(height * width + 1, np.int64)
    np.add.at(paint, rows * width + starts, numbers + 1)
    np.add.at(paint, rows * width + ends, -(numbers + 1))
    return Regions(np.cumsum(paint[:-1]).reshape(height, width), len(kept))


def _join_runs(row_starts: list[int], starts: list[int], ends: list[int]) -> list[int]:
    parents = list(range(len(starts)))

    def root(run: int) -> int:
        while parents[run] != run:
            parents[run] = parents[parents[run]]
            run = parents[run]
        return run

    for row in range(1, len(row_starts) - 1):
        above, below = row_starts[row - 1], row_starts[row]
        while above < row_starts[row] and below < row_starts[row + 1]:
            if starts[above] < ends[below] and starts[below] < ends[above]:
                first, second = sorted((root(above), root(below)))
                parents[second] = first
            if ends[above] < ends[below]:
                above += 1
            else:
                below += 1
    return [root(run) for run in range(len(starts))]


def grow(mask: Mask, radius: int) -> Mask:
    """Grow by a square of `radius` pixels each way."""
    across = mask.copy()
    for step in range(1, radius + 1):
        across[:, step:] |= mask[:, :-step]
        across[:, :-step] |= mask[:, step:]
    grown = across.copy()
    for step in range(1, radius + 1):
        grown[step:] |= across[:-step]
        grown[:-step] |= across[step:]
    return grown


def shrink(mask: Mask, radius: int) -> Mask:
    return ~grow(~mask, radius)
