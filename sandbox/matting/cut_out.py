"""Cutout of a picture: decided on a small copy, drawn at full size along the edges only."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sandbox.matting.background import Background, find_background
from sandbox.matting.colour import Array, Pixels, distance, to_opponent, to_rgb
from sandbox.matting.subject import find_subject
from sandbox.matting.zones import EDGE, Zones, find_zones

SMALL_SIDE = 192  # pixels, about, of the longer side of the small copy
_LEAST_SCALE = 2  # evens out the ripples of JPEG, which reach 8 pixels
_FAINT, _CLEAR = 0.12, 0.24  # contrast from which an edge's colours count at all, and alone
_FULL = 0.8  # of the contrast around, from which a pixel is the subject's alone
_NOISE = 0.08  # cover that is none: the ripples of JPEG around an edge
_LEAST_COVER = 0.15  # below it a pixel's own colour cannot be told from its background's


def cut_out(picture: Image.Image) -> Image.Image:
    """Give an RGBA copy of an RGB picture with everything but its subject transparent.

    A picture in which no subject is found comes back wholly transparent.
    """
    scale = max(_LEAST_SCALE, round(max(picture.size) / SMALL_SIDE))
    small = to_opponent(np.asarray(picture.reduce(scale)))
    background = find_background(small)
    zones = find_zones(small, background, find_subject(background))

    rgb = np.array(picture)
    pixels = rgb.reshape(-1, 3)
    alpha = _enlarged(zones.kinds, scale, picture, Image.Resampling.NEAREST)
    edge = np.flatnonzero(alpha == EDGE)
    rows, columns = np.divmod(edge, picture.width)
    soft = _enlarged(zones.soft, scale, picture, Image.Resampling.BILINEAR)[edge]
    place = (rows // scale, columns // scale)
    alpha[edge], pixels[edge] = _unmix(pixels[edge], place, soft, background, zones)
    cutout = Image.fromarray(rgb)
    cutout.putalpha(Image.fromarray(alpha.reshape(rgb.shape[:2])))
    return cutout


def _unmix(
    rgb: Pixels,
    place: tuple[NDArray[np.intp], NDArray[np.intp]],
    soft: Pixels,
    background: Background,
    zones: Zones,
) -> tuple[Pixels, Pixels]:
    """Give the alpha of each edge pixel, and its colour without the background's part in it."""
    pixels = to_opponent(rgb)
    behind = background.colour[:, *place]
    contrast = zones.contrast[place]
    least = 0.8 * background.tolerance
    away = distance(pixels, behind, tinted=background.tinted)
    cover = (away - least) / (_FULL * np.maximum(contrast, np.float32(_FAINT)) - least)
    np.clip(cover, 0, 1, out=cover)
    unclear = (_CLEAR - contrast) / np.float32(_CLEAR - _FAINT)
    np.clip(unclear, 0, 1, out=unclear)
    unclear[soft == 0] = 0
    cover += unclear * (soft.astype(np.float32) / 255 - cover)
    cover[cover < _NOISE] = 0
    divisor: Array = np.maximum(cover, np.float32(_LEAST_COVER))
    colour: Array = behind + (pixels - behind) / divisor
    return (cover * 255).astype(np.uint8), to_rgb(colour)


def _enlarged(small: Pixels, scale: int, picture: Image.Image, resampling: Image.Resampling) -> Pixels:
    """Give a map of the small copy at the picture's size, flat."""
    height, width = small.shape
    large = Image.fromarray(small).resize((width * scale, height * scale), resampling)
    return np.array(large.crop((0, 0, *picture.size))).ravel()
