"""The original read by stripes of rows, so that no copy of it is held."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from cutout.images.colours import to_srgb
from cutout.outputs.enlarge.tiles import TILE, Bytes, Flags, padded

_STRIPE_TILES = 8


@dataclass(frozen=True)
class Stripe:
    """Rows of tiles from `begin` to `end`."""

    begin: int
    end: int

    @property
    def pixels(self) -> slice:
        return slice(self.begin * TILE, self.end * TILE)


def stripes(tile_rows: int) -> Iterator[Stripe]:
    """Yield stripes of 256 rows of pixels."""
    for begin in range(0, tile_rows, _STRIPE_TILES):
        yield Stripe(begin, min(begin + _STRIPE_TILES, tile_rows))


def planes_of(image: Image.Image, stripe: Stripe, profile: bytes | None = None) -> Bytes:
    """Return red, green and blue of a stripe of whole tiles, (3, rows, columns); by `profile` in sRGB.

    Pixels beyond the picture are black.
    """
    rows = stripe.pixels
    part = image.crop((0, rows.start, padded(image.width), rows.stop))
    if profile:
        part = to_srgb(part, profile)
    return np.stack([np.asarray(band) for band in part.split()])


def touched(flags: Flags, stripe: Stripe) -> bool:
    return bool(flags[stripe.begin : stripe.end].any())
