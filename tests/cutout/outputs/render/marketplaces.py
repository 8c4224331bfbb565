"""Independent check of files for marketplaces: figures from their pages, pixels counted by numpy."""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

RING = 8
WHITE = 255
MB = 1_000_000
SEEN = 24  # levels from white: a pixel of the subject, not a ripple of JPEG


@dataclass(frozen=True)
class Demand:
    """Demands of one marketplace, typed here anew."""

    formats: tuple[str, ...]
    megabytes: float
    sizes: tuple[tuple[int, int], tuple[int, int]]
    """Least and most of the shorter and longer side."""
    is_white: bool = False
    fill: tuple[float, float] = (0, 1)
    aspect: float | None = None


DEMANDS = {
    "amazon": Demand(("JPEG", "PNG", "TIFF", "GIF"), 10, ((1, 500), (10_000, 10_000)), True, (0.85, 1)),
    "google": Demand(("JPEG", "WEBP", "PNG", "GIF"), 16, ((500, 500), (8_000, 8_000)), False, (0.75, 0.9)),
    "walmart": Demand(("JPEG", "PNG", "BMP"), 5, ((1_500, 1_500), (9_999, 9_999)), True, (0, 1), 1.0),
    "ebay": Demand(("JPEG", "PNG"), 12, ((1, 500), (6_000, 6_000))),
    "shopify": Demand(("JPEG", "PNG", "GIF", "WEBP"), 20, ((1, 1), (4_472, 4_472))),
    "etsy": Demand(("JPEG", "PNG", "GIF"), 10, ((2_000, 2_000), (9_999, 9_999))),
    "zalando": Demand(("JPEG",), 20, ((762, 1_100), (9_999, 9_999)), True, (0, 1), 1 / 1.44),
}


def faults(name: str, data: bytes) -> Iterator[str]:
    """Yield the name of each demand that a file does not meet."""
    demand = DEMANDS[name]
    picture = Image.open(io.BytesIO(data))
    if picture.format not in demand.formats or picture.mode != "RGB":
        yield "mode"
    if len(data) > demand.megabytes * MB:
        yield "bytes"
    shorter, longer = sorted(picture.size)
    (least_shorter, least_longer), (most_shorter, most_longer) = demand.sizes
    if not (least_shorter <= shorter <= most_shorter and least_longer <= longer <= most_longer):
        yield "size"
    if demand.aspect is not None and abs(picture.width / picture.height / demand.aspect - 1) > 0.01:
        yield "size"
    pixels: NDArray[np.uint8] = np.asarray(picture.convert("RGB"))
    ring = (pixels[:RING], pixels[-RING:], pixels[:, :RING], pixels[:, -RING:])
    if demand.is_white and any(int(side.min()) != WHITE for side in ring):
        yield "background"
    if not demand.fill[0] <= fill_of(pixels) <= demand.fill[1]:
        yield "fill"


def fill_of(pixels: NDArray[np.uint8]) -> float:
    """Return the larger share of a white canvas's sides that is not white."""
    seen = pixels.min(axis=2) < WHITE - SEEN
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    if not len(rows):
        return 0.0
    return float(max((np.ptp(rows) + 1) / seen.shape[0], (np.ptp(columns) + 1) / seen.shape[1]))
