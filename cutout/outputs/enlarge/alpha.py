"""Alpha at the original's size: fitted at the sent size, applied to the original's pixels at the outline."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from cutout.outputs.enlarge.box import outline
from cutout.outputs.enlarge.fit import HALO, coefficients
from cutout.outputs.enlarge.source import planes_of, stripes, touched
from cutout.outputs.enlarge.tiles import Bytes, Flags, Floats, Grid, Tiles, as_tiles, padded


@dataclass(frozen=True)
class FullAlpha:
    """Alpha of whole tiles; the picture takes `size`, width and height. `edges` are tiles on the outline."""

    levels: Bytes
    size: tuple[int, int]
    grid: Grid
    edges: Flags

    @classmethod
    def of(cls, alpha: Bytes, outline: Flags, size: tuple[int, int]) -> "FullAlpha":
        """Return alpha as it is off the outline: each tile without an edge is all 0 or all 255."""
        height, width = alpha.shape
        grid = Grid.of(size, (width, height), (width / size[0], height / size[1]))
        levels = np.empty((padded(size[1]), padded(size[0])), np.uint8)
        corners = alpha[grid.rows.cells[:, 0]][:, grid.columns.cells[:, 0]]
        as_tiles(levels)[:] = corners[:, :, None, None]
        return cls(levels, size, grid, grid.any(outline))

    @property
    def image(self) -> Image.Image:
        """The picture of mode L; it shares its memory with `levels`."""
        stride = self.levels.shape[1]
        return Image.frombuffer("L", self.size, self.levels, "raw", "L", stride, 1)

    def shrunk(self, size: tuple[int, int]) -> Bytes:
        """Return alpha shrunk to `size`, the width and height of a picture."""
        # Pillow's BOX counts pixels that lie on the border of two cells to one of them alone.
        return np.asarray(self.image.resize(size, Image.Resampling.HAMMING))


def full_alpha(original: Image.Image, profile: bytes | None, sent: Bytes, alpha: Bytes) -> FullAlpha:
    """Return `alpha`, of the sent picture's size, at the original's; `profile` is that of the original."""
    full = FullAlpha.of(alpha, outline(alpha), original.size)
    _fit(full, original, profile, sent, alpha)
    _return_to(full, alpha)
    return full


def _fit(full: FullAlpha, original: Image.Image, profile: bytes | None, sent: Bytes, alpha: Bytes) -> None:
    """Write alpha along the outline, from the original's pixels in sRGB."""
    by_tile = as_tiles(full.levels)
    for stripe in stripes(full.grid.rows.tiles):
        if not touched(full.edges, stripe):
            continue
        pixels = planes_of(original, stripe, profile)
        cells = full.grid.rows.cells[stripe.begin : stripe.end]
        first = max(0, int(cells.min()) - HALO)
        part = slice(first, int(cells.max()) + HALO + 1)
        planes = coefficients(sent[part], alpha[part])
        colours = [as_tiles(plane) for plane in pixels]
        for tiles in Tiles.flagged(full.edges, stripe.begin, stripe.end).chunks():
            inside = tiles.rows - stripe.begin, tiles.columns
            near = full.grid.interpolated(planes, tiles, first)
            by_tile[tiles.rows, tiles.columns] = _applied(near, [plane[inside] for plane in colours])


def _applied(near: Floats, colours: list[Bytes]) -> Floats:
    result = near[:, 3]
    for number, colour in enumerate(colours):
        result += near[:, number] * colour
    np.clip(result, near[:, 4], near[:, 5], out=result)
    result += np.float32(0.5)
    return result


def _return_to(full: FullAlpha, alpha: Bytes) -> None:
    """Correct alpha along the outline by what it lacks, once shrunk, of the mask: one back-projection."""
    lacking = alpha.astype(np.float32) - full.shrunk((alpha.shape[1], alpha.shape[0]))
    by_tile = as_tiles(full.levels)
    for stripe in stripes(full.grid.rows.tiles):
        for tiles in Tiles.flagged(full.edges, stripe.begin, stripe.end).chunks():
            at = tiles.rows, tiles.columns
            corrected = full.grid.interpolated(lacking[None], tiles)[:, 0] + by_tile[at]
            by_tile[at] = np.clip(np.rint(corrected), 0, 255)
