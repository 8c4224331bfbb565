"""Colours near each place: of the subject and of the background, from where alpha leaves no doubt."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cutout.outputs.enlarge.box import box_sums
from cutout.outputs.enlarge.tiles import Bytes, Floats

_SURE_SUBJECT, _SURE_BACKGROUND = 250, 5
# Radii in cells of half the sent size, and the weight of each: a larger window counts where a smaller is
# empty.
_WINDOWS = ((1, 1.0), (4, 2e-2), (14, 1e-4))
_WHOLE = 1e-8
HALF = 2


@dataclass(frozen=True)
class NearColours:
    """Planes of the subject's and the background's red, green and blue at half the sent size, in levels."""

    planes: Floats

    @property
    def size(self) -> tuple[int, int]:
        return self.planes.shape[2], self.planes.shape[1]


def near_colours(colours: Bytes, alpha: Bytes) -> NearColours:
    """Return the near colours of a picture of shape (rows, columns, 3) by its mask.

    A mask that is nowhere sure is taken at its greatest and its least.
    """
    subject = alpha > min(_SURE_SUBJECT, int(alpha.max()) - 1)
    background = alpha < max(_SURE_BACKGROUND, int(alpha.min()) + 1)
    halves = [_near(colours, subject), _near(colours, background)]
    return NearColours(np.concatenate(halves))


def _near(colours: Bytes, sure: NDArray[np.bool_]) -> Floats:
    counted = np.empty((4, *sure.shape), np.uint8)
    np.multiply(colours.transpose(2, 0, 1), sure, out=counted[:3])
    counted[3] = sure
    sums = _halved(counted)
    whole = sums.sum(axis=(1, 2), dtype=np.float64)
    weighted = np.empty(sums.shape, np.float32)
    weighted[:] = (whole * _WHOLE / sums[0].size)[:, None, None]
    for radius, weight in _WINDOWS:
        weighted += box_sums(sums, radius) * np.float32(weight / (2 * radius + 1) ** 2)
    result: Floats = weighted[:3] / np.maximum(weighted[3], np.float32(1e-12))
    return result


def _halved(planes: Bytes) -> NDArray[np.int32]:
    """Return sums over 2x2 cells; at an odd border over those that are there."""
    rows, columns = planes.shape[1:]
    even = np.pad(planes, ((0, 0), (0, rows % 2), (0, columns % 2))).astype(np.int32)
    tall = even[:, ::2] + even[:, 1::2]
    result: NDArray[np.int32] = tall[:, :, ::2] + tall[:, :, 1::2]
    return result
