"""Connected regions of a grid of counts, found by runs of cells in each row."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Regions:
    """Regions of cells that touch, also at their corners. `areas` has the sum of counts by region.

    A run is the cells of a row from a start to an end, which is outside; `of_run` has its region.
    """

    shape: tuple[int, int]
    areas: NDArray[np.int64]
    rows: NDArray[np.intp]
    starts: NDArray[np.intp]
    ends: NDArray[np.intp]
    of_run: NDArray[np.intp]

    def cells_of(self, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return a grid that is true in the chosen regions."""
        steps = np.zeros((self.shape[0], self.shape[1] + 1), np.int8)
        runs = chosen[self.of_run]
        steps[self.rows[runs], self.starts[runs]] += 1
        steps[self.rows[runs], self.ends[runs]] -= 1
        return np.cumsum(steps, axis=1)[:, :-1] > 0


def find_regions(counts: NDArray[np.int64]) -> Regions:
    """Find the regions of cells whose count is not 0."""
    height, width = counts.shape
    padded = np.zeros((height, width + 2), np.int8)
    padded[:, 1:-1] = counts > 0
    steps = np.diff(padded, axis=1)
    rows, starts = np.nonzero(steps == 1)
    ends = np.nonzero(steps == -1)[1]
    roots = _joined(rows, starts, ends, height)
    _, of_run = np.unique(roots, return_inverse=True)
    sums = np.zeros((height, width + 1), np.int64)
    np.cumsum(counts, axis=1, out=sums[:, 1:])
    areas = np.bincount(of_run, weights=sums[rows, ends] - sums[rows, starts]).astype(np.int64)
    return Regions((height, width), areas, rows, starts, ends, of_run)


def _joined(
    rows: NDArray[np.intp], starts: NDArray[np.intp], ends: NDArray[np.intp], height: int
) -> list[int]:
    """Return for each run the root of its region: runs of neighbouring rows that touch are joined."""
    parents = list(range(len(rows)))
    first = np.searchsorted(rows, np.arange(height + 1)).tolist()
    begin, end = starts.tolist(), ends.tolist()
    for row in range(1, height):
        above, here = first[row - 1], first[row]
        while above < first[row] and here < first[row + 1]:
            if begin[above] <= end[here] and begin[here] <= end[above]:
                one, other = _root(parents, above), _root(parents, here)
                parents[max(one, other)] = min(one, other)
            if end[above] < end[here]:
                above += 1
            else:
                here += 1
    return [_root(parents, run) for run in range(len(parents))]


def _root(parents: list[int], run: int) -> int:
    while parents[run] != run:
        parents[run] = parents[parents[run]]
        run = parents[run]
    return run
