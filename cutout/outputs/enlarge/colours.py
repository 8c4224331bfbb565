"""The picture with its alpha: along the outline the old background's share is taken out of the colours."""

import numpy as np
from PIL import Image

from cutout.outputs.enlarge.alpha import FullAlpha
from cutout.outputs.enlarge.cleaning import Cleaning
from cutout.outputs.enlarge.source import Stripe, planes_of, stripes, touched
from cutout.outputs.enlarge.tiles import Bytes, Tiles, as_tiles

# Levels of alpha under which a pixel is delivered as empty, and over which as full: a white ground stays
# white.
_EMPTY_UNDER, _FULL_OVER = 3, 252
_OPAQUE = 255
_DELIVERED = np.arange(256, dtype=np.uint8)
_DELIVERED[:_EMPTY_UNDER], _DELIVERED[_FULL_OVER + 1 :] = 0, _OPAQUE
_KEPT = ("icc_profile", "dpi")


def composed(original: Image.Image, full: FullAlpha, edges: Cleaning) -> Image.Image:
    """Return the original in mode RGBA with its profile; colours under alpha 0 are 0.

    Alpha is made final in `full`.
    """
    result = Image.new("RGBA", original.size)
    result.info.update({name: original.info[name] for name in _KEPT if name in original.info})
    for stripe in stripes(full.grid.rows.tiles):
        alpha = full.levels[stripe.pixels]
        if not alpha.any():
            continue
        planes = planes_of(original, stripe)
        if touched(full.edges, stripe):
            np.take(_DELIVERED, alpha, out=alpha)
            _clean(planes, full, stripe, edges)
            planes *= alpha > 0
        bands = [Image.fromarray(plane) for plane in (*planes, alpha)]
        result.paste(Image.merge("RGBA", bands), (0, stripe.pixels.start))
    return result


def _clean(planes: Bytes, full: FullAlpha, stripe: Stripe, edges: Cleaning) -> None:
    """Take the background's share out of the colours of pixels that are partly transparent."""
    colours = [as_tiles(plane) for plane in planes]
    for tiles in Tiles.flagged(full.edges, stripe.begin, stripe.end).chunks():
        inside = tiles.rows - stripe.begin, tiles.columns
        levels = as_tiles(full.levels)[tiles.rows, tiles.columns]
        alpha = levels * np.float32(1 / _OPAQUE)
        mixed = (levels > 0) & (levels < _OPAQUE)
        near = edges.at(tiles)
        for number, plane in enumerate(colours):
            colour, subject, background = plane[inside], near[:, number], near[:, number + 3]
            cleaned = subject + alpha * (colour - background - alpha * (subject - background))
            np.clip(cleaned, 0, _OPAQUE, out=cleaned)
            cleaned += np.float32(0.5)
            np.copyto(colour, cleaned, where=mixed, casting="unsafe")
            plane[inside] = colour
