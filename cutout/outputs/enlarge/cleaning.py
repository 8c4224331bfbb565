"""Colours by which edges are cleaned, in the original's own colour space."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from cutout.images.colours import from_srgb
from cutout.outputs.enlarge.near_colours import HALF, NearColours, near_colours
from cutout.outputs.enlarge.tiles import Bytes, Floats, Grid, Tiles


@dataclass(frozen=True)
class Cleaning:
    """Near colours at half the sent size, and the bought RGBA if its colours are free of the background.

    `bought` is at the sent size, of shape (4, rows, columns), with colours premultiplied by alpha.
    """

    near: NearColours
    halves: Grid
    bought: np.ndarray[tuple[int, ...], np.dtype[np.uint16]] | None
    cells: Grid

    def at(self, tiles: Tiles) -> Floats:
        """Return subject's and background's colours at the tiles' pixels, (tiles, 6, TILE, TILE)."""
        near = self.halves.interpolated(self.near.planes, tiles)
        if self.bought is not None:
            bought = self.cells.interpolated(self.bought, tiles)
            there = bought[:, 3] >= 1
            share = 1 / np.maximum(bought[:, 3], 1)
            for number in range(3):
                np.copyto(near[:, number], bought[:, number] * share, where=there)
        return near


def cleaning(
    original: Image.Image,
    bought: Image.Image,
    near: NearColours,
    profile: bytes | None,
    *,
    decontaminated: bool,
) -> Cleaning:
    """Return the colours for an original; `near` are the sent picture's, used if there is no profile."""
    if profile is not None:
        own = original.resize(bought.size, Image.Resampling.BOX)
        near = near_colours(np.asarray(own), np.asarray(bought.getchannel("A")))
    scale = bought.width / original.width, bought.height / original.height
    halves = Grid.of(original.size, near.size, (scale[0] / HALF, scale[1] / HALF))
    colours = bought.convert("RGB") if decontaminated else None
    if colours is not None and profile is not None:
        colours = from_srgb(colours, profile)
    premultiplied = (
        None if colours is None else _premultiplied(np.asarray(colours), np.asarray(bought)[:, :, 3])
    )
    return Cleaning(near, halves, premultiplied, Grid.of(original.size, bought.size, scale))


def _premultiplied(colours: Bytes, alpha: Bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    planes = np.empty((4, *alpha.shape), np.uint16)
    np.multiply(colours.transpose(2, 0, 1), alpha, out=planes[:3], dtype=np.uint16)
    planes[3] = alpha
    return planes
