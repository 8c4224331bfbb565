"""Masks of shape (height, width): growing, shrinking, and steps of colour between neighbours."""

import numpy as np

from cutout.outputs.score.regions import Mask
from cutout.outputs.score.small_copy import Floats


def grow(mask: Mask, radius: int) -> Mask:
    """Grow by a square of `radius` pixels each way."""
    for _ in range(radius):
        grown = mask.copy()
        grown[:, 1:] |= mask[:, :-1]
        grown[:, :-1] |= mask[:, 1:]
        mask = grown.copy()
        mask[1:] |= grown[:-1]
        mask[:-1] |= grown[1:]
    return mask


def shrink(mask: Mask, radius: int) -> Mask:
    """Shrink by a square of `radius` pixels each way; the picture's border takes nothing off."""
    return ~grow(~mask, radius)


def outline(mask: Mask) -> Mask:
    """Pixels of the mask with one of their four neighbours outside it; the picture's border is none."""
    found = np.zeros_like(mask)
    found[:, 1:] |= ~mask[:, :-1]
    found[:, :-1] |= ~mask[:, 1:]
    found[1:] |= ~mask[:-1]
    found[:-1] |= ~mask[1:]
    return found & mask


def border(shape: tuple[int, int]) -> Mask:
    """The outermost pixels of a picture."""
    mask = np.zeros(shape, np.bool_)
    mask[0] = mask[-1] = mask[:, 0] = mask[:, -1] = True
    return mask


def length(planes: Floats) -> Floats:
    """Euclidean length over the channels of an array of shape (3, ...)."""
    result: Floats = np.sqrt(np.einsum("i...,i...->...", planes, planes))
    return result


def colour_steps(pixels: Floats) -> Floats:
    """Largest step in colour between each pixel and its four neighbours; shape (height, width)."""
    strength = np.zeros(pixels.shape[1:], np.float32)
    across = length(pixels[:, :, 1:] - pixels[:, :, :-1])
    strength[:, 1:] = across
    np.maximum(strength[:, :-1], across, out=strength[:, :-1])
    down = length(pixels[:, 1:] - pixels[:, :-1])
    np.maximum(strength[1:], down, out=strength[1:])
    np.maximum(strength[:-1], down, out=strength[:-1])
    return strength
