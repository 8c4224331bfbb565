"""Measures of an output, taken from its decoded file."""

import io
from typing import Any

from PIL import Image

from cutout.outputs.recipes.recipe import Recipe
from cutout.outputs.render.layout import Layout
from cutout.outputs.render.subject_box import VISIBLE

RING = 8
"""Width in pixels of the ring along the canvas's edge that is compared with the background."""

Measures = dict[str, Any]
_DECIMALS = 4


def measure(data: bytes, recipe: Recipe, layout: Layout, alpha: Image.Image) -> Measures:
    """Decode the file and measure it; `alpha` is that of the subject as it was drawn.

    `ring` has the largest difference from the background on each side, in levels, `fill` the share of width
    and height that the subject's box has. They are None for a mask, or a canvas that follows the picture.
    """
    with Image.open(io.BytesIO(data), formats=(recipe.format.upper(),)) as picture:
        picture.load()
        found: Measures = {
            "width": picture.width,
            "height": picture.height,
            "bytes": len(data),
            "format": recipe.format,
            "mode": picture.mode,
            "ring": None,
            "fill": None,
        }
        if layout.wanted_fill is not None:
            found["fill"] = _fill(alpha, picture.size)
            if not recipe.is_mask:
                found["ring"] = _ring(picture, recipe)
    return found


def _fill(alpha: Image.Image, canvas: tuple[int, int]) -> list[float]:
    box = alpha.point([0] * VISIBLE + [255] * (256 - VISIBLE)).getbbox() or (0, 0, 0, 0)
    shares = ((box[2] - box[0]) / canvas[0], (box[3] - box[1]) / canvas[1])
    return [round(share, _DECIMALS) for share in shares]


def _ring(picture: Image.Image, recipe: Recipe) -> dict[str, int]:
    """Return the largest difference from the background by side."""
    width, height = picture.size
    sides = {
        "left": (0, 0, min(RING, width), height),
        "top": (0, 0, width, min(RING, height)),
        "right": (max(0, width - RING), 0, width, height),
        "bottom": (0, max(0, height - RING), width, height),
    }
    return {side: _difference(picture.crop(box), recipe) for side, box in sides.items()}


def _difference(strip: Image.Image, recipe: Recipe) -> int:
    if recipe.background is None:
        return _levels(strip.convert("RGBA").getchannel("A"))[-1]
    bands = zip(strip.convert("RGB").split(), recipe.background, strict=True)
    return max(abs(found - level) for band, level in bands for found in _levels(band))


def _levels(band: Image.Image) -> list[int]:
    return [level for level, count in enumerate(band.histogram()) if count]
