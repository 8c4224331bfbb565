"""Colours as one lightness and two opponent channels, so that shadow and tint can be told apart.

Pictures are planar here: arrays of shape (3, height, width), or (3, n) for loose pixels, values 0 to 1.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]
Pixels = NDArray[np.uint8]  # as they come and go; the last axis is the channels

# Lightness, red against green, yellow against blue. A tint weighs more than as much lightness.
_TO_OPPONENT = np.array([[1 / 3, 1 / 3, 1 / 3], [0.75, -0.75, 0.0], [0.35, 0.35, -0.7]], np.float32)
_TO_RGB = np.linalg.inv(_TO_OPPONENT).astype(np.float32)

# A pixel that is its background darkened is likely a shadow: that much of the darkening counts.
_SHADE_WEIGHT = 0.22
_DARKEST_SHADE = 0.55
# On a tinted background shade and shine keep the tint, so a wider range is safely the background's.
_TINTED_SHADES = (0.45, 1.3)


def to_opponent(rgb: Pixels) -> Array:
    """Turn pixels of shape (..., 3) into a planar opponent array."""
    flat = rgb.reshape(-1, 3).T.astype(np.float32)
    return (_TO_OPPONENT @ flat / np.float32(255)).reshape(3, *rgb.shape[:-1])


def to_rgb(opponent: Array) -> Pixels:
    """Turn loose opponent pixels (3, n) into RGB pixels (n, 3)."""
    rgb: Pixels = np.clip(_TO_RGB @ opponent * np.float32(255), 0, 255).astype(np.uint8).T
    return rgb


def dot(one: Array, other: Array) -> Array:
    product: Array = one[0] * other[0] + one[1] * other[1] + one[2] * other[2]
    return product


def distance(pixels: Array, background: Array, *, tinted: bool) -> Array:
    """Distance of pixels from their background's colour, shadows on it counting little."""
    power = dot(background, background)
    darkest, brightest = _TINTED_SHADES if tinted else (_DARKEST_SHADE, 1.0)
    shade: Array = np.clip(dot(pixels, background) / np.maximum(power, 1e-4), darkest, brightest)
    rest: Array = pixels - shade * background
    return np.sqrt(dot(rest, rest) + (_SHADE_WEIGHT * (1 - shade)) ** 2 * power)


def edge_strength(pixels: Array) -> Array:
    """Give the largest step in colour between each pixel and its four neighbours."""
    strength = np.zeros(pixels.shape[1:], np.float32)
    across = pixels[:, :, 1:] - pixels[:, :, :-1]
    down = pixels[:, 1:] - pixels[:, :-1]
    step = np.sqrt(dot(across, across))
    strength[:, 1:] = step
    np.maximum(strength[:, :-1], step, out=strength[:, :-1])
    step = np.sqrt(dot(down, down))
    np.maximum(strength[1:], step, out=strength[1:])
    np.maximum(strength[:-1], step, out=strength[:-1])
    return strength
