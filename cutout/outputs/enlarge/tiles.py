"""Tiles of a picture's pixels, and bilinear interpolation of coarser cells at all pixels of a tile.

A tile is a square of TILE pixels. Work on lists of tiles follows the length of the outline, not the size of
the picture, and interpolation is two small matrix products for each tile.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TILE = 32
# Tiles worked on at once: 128 are 131,072 pixels, a few megabytes that stay in the processor's cache.
_CHUNK = 128

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Axis:
    """One dimension of a grid: for each tile the cells around it, and each pixel's weights for them.

    `cells` is of shape (tiles, reach), `weights` of (tiles, TILE, reach). Cells beyond the border repeat the
    last one.
    """

    cells: Indices
    weights: Floats

    @classmethod
    def of(cls, pixels: int, cells: int, scale: float) -> "Axis":
        """Return the axis of so many pixels; `scale` is the number of cells that a pixel spans."""
        tiles = -(-pixels // TILE)
        at = ((np.arange(tiles * TILE) + 0.5) * scale - 0.5).reshape(tiles, TILE)
        left = np.floor(at).astype(np.intp)
        first = left[:, :1]
        reach = int((left[:, -1:] - first).max()) + 2
        share = (at - left).astype(np.float32)
        weights = np.zeros((tiles, TILE, reach), np.float32)
        np.put_along_axis(weights, (left - first)[:, :, None], (1 - share)[:, :, None], axis=2)
        np.put_along_axis(weights, (left - first)[:, :, None] + 1, share[:, :, None], axis=2)
        return cls(np.clip(first + np.arange(reach), 0, cells - 1), weights)

    @property
    def tiles(self) -> int:
        return len(self.cells)


@dataclass(frozen=True)
class Grid:
    """Cells of a coarser picture laid over the tiles of a finer one."""

    rows: Axis
    columns: Axis

    @classmethod
    def of(cls, size: tuple[int, int], cells: tuple[int, int], scale: tuple[float, float]) -> "Grid":
        """Return the grid; `size` and `cells` are width and height, `scale` the cells that a pixel spans."""
        return cls(Axis.of(size[1], cells[1], scale[1]), Axis.of(size[0], cells[0], scale[0]))

    def any(self, flags: Flags) -> Flags:
        """Return for each tile whether one of its cells is flagged, in shape (tile rows, tile columns)."""
        by_row: Flags = np.any(flags[self.rows.cells], axis=1)
        found: Flags = np.any(by_row[:, self.columns.cells], axis=2)
        return found

    def interpolated(self, planes: NDArray[np.generic], tiles: "Tiles", first_row: int = 0) -> Floats:
        """Return planes of cells, shape (n, rows, columns), at the tiles' pixels: (tiles, n, TILE, TILE).

        `first_row` is the row of cells that the planes begin with.
        """
        rows = self.rows.cells[tiles.rows] - first_row
        columns = self.columns.cells[tiles.columns]
        near = planes[:, rows[:, :, None], columns[:, None, :]].astype(np.float32, copy=False)
        count, tall, wide = len(near), rows.shape[1], columns.shape[1]
        stacked = np.ascontiguousarray(near.swapaxes(0, 1)).reshape(len(rows), count * tall, wide)
        across = stacked @ self.columns.weights[tiles.columns].swapaxes(1, 2)
        down = across.reshape(len(rows), count, tall, TILE)
        result: Floats = self.rows.weights[tiles.rows][:, None] @ down
        return result


@dataclass(frozen=True)
class Tiles:
    """A list of tiles by their row and column."""

    rows: Indices
    columns: Indices

    @classmethod
    def flagged(cls, flags: Flags, begin: int, end: int) -> "Tiles":
        """Return the flagged tiles of some rows of tiles."""
        rows, columns = np.nonzero(flags[begin:end])
        return cls(rows + begin, columns)

    def chunks(self) -> Iterator["Tiles"]:
        """Yield the tiles in chunks of bounded memory."""
        for begin in range(0, len(self.rows), _CHUNK):
            chunk = slice(begin, begin + _CHUNK)
            yield Tiles(self.rows[chunk], self.columns[chunk])


def padded(pixels: int) -> int:
    """Return a number of pixels rounded up to whole tiles."""
    return -(-pixels // TILE) * TILE


def as_tiles(plane: NDArray[np.uint8]) -> Bytes:
    """Return a view of a plane of whole tiles, in shape (tile rows, tile columns, TILE, TILE)."""
    height, width = plane.shape[-2:]
    split = plane.reshape(height // TILE, TILE, width // TILE, TILE)
    return split.swapaxes(1, 2)
