"""From a picture to its cutout: decided on a small copy, drawn at full size along the edges only."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sandbox.matting.background import Background, find_background
from sandbox.matting.colour import Array, distance, to_opponent, to_rgb
from sandbox.matting.subject import find_subject
from sandbox.matting.zones import EDGE, Zones, find_zones

SMALL_SIDE = 192  # pixels, about, of the longer side of the small copy
_FAINT, _CLEAR = 0.12, 0.24  # contrast from which an edge's colours count at all, and alone
_FULL = 0.8  # of the contrast around, from which a pixel is the subject's alone
_LEAST_COVER = 0.15  # below it a pixel's own colour cannot be told from its background's


def cut_out(picture: Image.Image) -> Image.Image:
    """Give an RGBA copy of an RGB picture with everything but its subject transparent.

    A picture in which no subject is found comes back wholly transparent.
    """
    scale = max(1, round(max(picture.size) / SMALL_SIDE))
    small = to_opponent(np.asarray(picture.reduce(scale)))
    background = find_background(small)
    zones = find_zones(small, background, find_subject(background))

    rgb = np.array(picture)
    alpha = _enlarged(zones.kinds, scale, picture, Image.Resampling.NEAREST)
    rows, columns = np.nonzero(alpha == EDGE)
    soft = _enlarged(zones.soft, scale, picture, Image.Resampling.BILINEAR)[rows, columns]
    place = (rows // scale, columns // scale)
    cover, colour = _unmix(to_opponent(rgb[rows, columns]), place, soft, background, zones)
    alpha[rows, columns] = cover * 255
    rgb[rows, columns] = to_rgb(colour)
    cutout = Image.fromarray(rgb)
    cutout.putalpha(Image.fromarray(alpha))
    return cutout


def _unmix(
    pixels: Array,
    place: tuple[NDArray[np.intp], NDArray[np.intp]],
    soft: NDArray[np.uint8],
    background: Background,
    zones: Zones,
) -> tuple[Array, Array]:
    """Give how much of each edge pixel is the subject's (0 to 1), and the subject's colour in it."""
    behind = background.colour[:, *place]
    contrast = zones.contrast[place]
    least = 0.8 * background.tolerance
    away = distance(pixels, behind, tinted=background.tinted)
    by_colour = np.clip((away - least) / (_FULL * np.maximum(contrast, _FAINT) - least), 0, 1)
    clarity = np.clip((contrast - _FAINT) / (_CLEAR - _FAINT), 0, 1)
    by_outline: Array = np.where(soft > 0, 1 - clarity, 0).astype(np.float32)
    cover: Array = by_colour + by_outline * (soft / np.float32(255) - by_colour)
    colour: Array = behind + (pixels - behind) / np.maximum(cover, _LEAST_COVER)
    return cover, colour


def _enlarged(
    small: NDArray[np.uint8], scale: int, picture: Image.Image, resampling: Image.Resampling
) -> NDArray[np.uint8]:
    height, width = small.shape
    large = Image.fromarray(small).resize((width * scale, height * scale), resampling)
    return np.array(large.crop((0, 0, *picture.size)))
