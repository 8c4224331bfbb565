"""Where a picture's small copy settles the cutout, and where the full size must be looked at."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from sandbox.matting.background import Background
from sandbox.matting.colour import Array, Mask, Pixels
from sandbox.matting.regions import grow, shrink
from sandbox.matting.smooth import box_sum

OUTSIDE, EDGE, INSIDE = 0, 128, 255

_EDGE_WIDTH = 2  # pixels to each side of the subject's outline
_CONTRAST_REACH = 4  # pixels; over the edge and the subject's own faint rim
_DEEP = 3  # pixels inside the outline
_TINT = 0.1  # difference in chroma by which subject and background cannot be taken for each other
_WEAK = 0.6  # of the contrast around: a pixel below may be partly background
_DEEP_CONTRAST = 0.1  # deep inside only what is near the background's own colour is transparent


@dataclass(frozen=True)
class Zones:
    """Maps at the size of the small copy.

    `kinds` is OUTSIDE, EDGE or INSIDE; `contrast` the subject's distance from the background hereabouts;
    `soft` the blurred outline of the subject's thick parts (0 to 255), for edges too faint to be drawn by
    colour, which those of a tinted subject or background never are.
    """

    kinds: Pixels
    contrast: Array
    soft: Pixels


def find_zones(pixels: Array, background: Background, subject: Mask) -> Zones:
    contrast = _contrast(background.distance, subject)
    inside = shrink(subject, _EDGE_WIDTH)
    thick = subject & grow(inside, _EDGE_WIDTH + 1)
    if background.tinted or _is_tinted(pixels, background, subject):
        thick[:] = False
        inside &= background.distance > _WEAK * contrast
        contrast = np.where(shrink(subject, _DEEP), np.minimum(contrast, _DEEP_CONTRAST), contrast)
    kinds = np.where(grow(subject, _EDGE_WIDTH), EDGE, OUTSIDE).astype(np.uint8)
    kinds[inside] = INSIDE
    return Zones(kinds, contrast, _blurred(thick))


def _blurred(mask: Mask) -> Pixels:
    return np.asarray(Image.fromarray(mask.astype(np.uint8) * np.uint8(255)).filter(ImageFilter.BoxBlur(1)))


def _is_tinted(pixels: Array, background: Background, subject: Mask) -> bool:
    if not subject.any():
        return False
    chroma = (pixels - background.colour)[1:, subject]
    return float(np.median(np.hypot(*chroma))) > _TINT


def _contrast(away: Array, subject: Mask) -> Array:
    """Give the mean distance of the subject's body around each pixel; of a thin part, the peak."""
    body = shrink(subject, 1).astype(np.float32)
    total, count = box_sum(np.stack([away * body, body]), _CONTRAST_REACH)
    mean: Array = total / np.maximum(count, 1)
    return np.where(count > 0, mean, _local_peak(np.where(subject, away, np.float32(0))))


def _local_peak(values: Array) -> Array:
    """Give the highest value within reach of an edge."""
    peak = values.copy()
    for step in range(1, _CONTRAST_REACH + 1):
        np.maximum(peak[:, step:], values[:, :-step], out=peak[:, step:])
        np.maximum(peak[:, :-step], values[:, step:], out=peak[:, :-step])
    across = peak.copy()
    for step in range(1, _CONTRAST_REACH + 1):
        np.maximum(peak[step:], across[:-step], out=peak[step:])
        np.maximum(peak[:-step], across[step:], out=peak[:-step])
    return peak
