"""Connected regions of a mask, labelled by horizontal runs without a loop over pixels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Regions:
    """The 4-connected regions of a mask of shape (height, width).

    `labels` is 0 outside the mask and 1 to n inside; `sizes[label]` is a region's number of pixels.
    """

    labels: Indices
    sizes: Indices

    def touch_border(self) -> Mask:
        """Whether the region of each label touches the picture's border; False for label 0."""
        touching = np.zeros(len(self.sizes), np.bool_)
        for side in (self.labels[0], self.labels[-1], self.labels[:, 0], self.labels[:, -1]):
            touching[side] = True
        touching[0] = False
        return touching


def find_regions(mask: Mask) -> Regions:
    """Label the 4-connected regions of a mask of at least one pixel."""
    height, width = mask.shape
    padded = np.zeros((height, width + 2), np.int8)
    padded[:, 1:-1] = mask
    steps = np.diff(padded, axis=1)
    stride = width + 1
    # Positions in rows of width + 1, so that a run never continues in the next row.
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    roots = _roots(len(starts), *_touching_runs(starts, ends, stride))
    _, numbers = np.unique(roots, return_inverse=True)
    lengths = ends - starts
    labels = np.zeros(height * width, np.intp)
    labels[mask.ravel()] = np.repeat(numbers + 1, lengths)
    sizes = np.bincount(labels, minlength=1)
    return Regions(labels.reshape(height, width), sizes)


def _touching_runs(starts: Indices, ends: Indices, stride: int) -> tuple[Indices, Indices]:
    """Pairs of runs that share a column in adjacent rows: indices of the upper and of the lower run."""
    first = np.searchsorted(ends, starts + stride, side="right")
    last = np.searchsorted(starts, ends + stride, side="left")
    counts = np.maximum(last - first, 0)
    upper = np.repeat(np.arange(len(starts)), counts)
    offsets = np.arange(len(upper)) - np.repeat(np.cumsum(counts) - counts, counts)
    return upper, np.repeat(first, counts) + offsets


def _roots(count: int, upper: Indices, lower: Indices) -> Indices:
    """The lowest run of each run's region: union of the pairs, all at once, until nothing changes."""
    parents = np.arange(count)
    while True:
        one, other = parents[upper], parents[lower]
        differ = one != other
        if not differ.any():
            return parents
        one, other = one[differ], other[differ]
        np.minimum.at(parents, np.maximum(one, other), np.minimum(one, other))
        while not np.array_equal(parents, jumped := parents[parents]):
            parents = jumped
