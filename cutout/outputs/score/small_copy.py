"""Small copy of a sent picture and its alpha, on which all measures but those of the histogram are taken."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cutout.outputs.score.regions import Mask

SIDE = 256  # pixels of the longer side
_INSIDE, _OUTSIDE = 0.5, 0.05

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class SmallCopy:
    """Pair of a picture, shape (3, height, width), and its alpha, shape (height, width); values 0 to 1.

    `histogram` counts the levels of the alpha at its full size; `full_side` is that size's longer side.
    """

    pixels: Floats
    alpha: Floats
    histogram: NDArray[np.int64]
    full_side: int

    @cached_property
    def inside(self) -> Mask:
        """Pixels of the subject: more opaque than not."""
        mask: Mask = self.alpha > _INSIDE
        return mask

    @cached_property
    def outside(self) -> Mask:
        """Pixels of the background: as good as transparent."""
        mask: Mask = self.alpha < _OUTSIDE
        return mask

    @property
    def shape(self) -> tuple[int, int]:
        height, width = self.alpha.shape
        return height, width

    @property
    def scale(self) -> float:
        """Pixels of the full size in one of the small copy."""
        return self.full_side / max(self.shape)


def make_small_copy(sent: Image.Image, alpha: Image.Image, side: int = SIDE) -> SmallCopy:
    """Shrink an RGB picture and its L alpha of the same size; smaller ones are kept as they are.

    Raises ValueError if modes or sizes are others.
    """
    if (sent.mode, alpha.mode) != ("RGB", "L"):
        raise ValueError(
            f"modes are {sent.mode} and {alpha.mode}; convert the picture to RGB, the alpha to L"
        )
    if sent.size != alpha.size:
        raise ValueError(f"the alpha is of {alpha.size} pixels, the picture of {sent.size}; resize one")
    ratio = min(1.0, side / max(sent.size))
    size = (max(1, round(sent.width * ratio)), max(1, round(sent.height * ratio)))
    planes = np.asarray(_shrunk(sent, size), np.float32).transpose(2, 0, 1) / np.float32(255)
    return SmallCopy(
        np.ascontiguousarray(planes),
        np.asarray(_shrunk(alpha, size), np.float32) / np.float32(255),
        np.array(alpha.histogram(), np.int64),
        max(sent.size),
    )


def _shrunk(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image.resize(size, Image.Resampling.BOX, reducing_gap=2.0)
