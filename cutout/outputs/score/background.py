"""Colour of the background at every pixel, estimated from the pixels that the alpha leaves out."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from cutout.outputs.score.masks import colour_steps, grow, length
from cutout.outputs.score.regions import Mask
from cutout.outputs.score.small_copy import Floats, SmallCopy

_LEAST_PIXELS = 64
_MARGIN = 2  # pixels around the subject that show some of it
_ROUNDS = 4
_LEAST_TOLERANCE = 0.03  # distance of colours from 0 to 1 in each of three channels
_TOLERANCES = 3.0  # of the median residual
_SAMPLES = 3  # every third pixel in each direction is enough for a surface of six terms
_DAMPING = np.diag([0.0] + [1e-4] * 5).astype(np.float32)
_HALVINGS = 3  # from pixels to cells of 8x8
_HALF_TRUST = 0.05  # share of known pixels at which a cell counts as much as its surroundings
_SHADE_WEIGHT = 0.25  # of the darkening that a shadow can explain
_DARKEST_SHADE = 0.6


@dataclass(frozen=True)
class Background:
    """The background of a small copy.

    `colour`, shape (3, height, width), is its estimate at every pixel, under the subject too. Of shape
    (height, width): `plain_distance` is each pixel's distance from it; `distance` counts only a part of what
    a shadow can explain; `steps` are the steps of colour between neighbours. `noise` is the median distance
    of background pixels from the estimate, `step` their median step.
    """

    colour: Floats
    distance: Floats
    plain_distance: Floats
    steps: Floats
    noise: float
    step: float


def find_background(copy: SmallCopy) -> Background | None:
    """Estimate the background, or return None if too little of it is left out by the alpha."""
    shown = ~grow(~copy.outside, _MARGIN)
    if shown.sum() < _LEAST_PIXELS:
        return None
    surface, tolerance = _fit_surface(copy.pixels, shown)
    residual = copy.pixels - surface
    alike = shown & (length(residual) < tolerance)
    colour = surface + _spread(residual, alike)
    plain = length(copy.pixels - colour)
    steps = colour_steps(copy.pixels)
    return Background(
        colour,
        _distance(copy.pixels, colour),
        plain,
        steps,
        float(np.median(plain[shown])),
        float(np.median(steps[shown])),
    )


def _fit_surface(pixels: Floats, shown: Mask) -> tuple[Floats, float]:
    """Fit a quadratic surface to the pixels shown, leaving out what differs from most of them.

    Returns it with the distance within which a pixel is alike.
    """
    _, height, width = pixels.shape
    terms = _terms(height, width)
    sample = np.zeros_like(shown)
    sample[::_SAMPLES, ::_SAMPLES] = True
    sample &= shown
    if sample.sum() < _LEAST_PIXELS:
        sample = shown
    known, seen = terms[:, sample], pixels[:, sample]
    away = length(seen - np.median(seen, axis=1, keepdims=True))
    alike = away <= np.quantile(away, 0.7)
    tolerance = _LEAST_TOLERANCE
    factors = np.zeros((6, 3), np.float32)
    for _ in range(_ROUNDS):
        used = known[:, alike]
        count = max(1, used.shape[1])
        damped = used @ used.T / count + _DAMPING
        factors = np.linalg.solve(damped, used @ seen[:, alike].T / count).astype(np.float32)
        away = length(seen - factors.T @ known)
        tolerance = max(_LEAST_TOLERANCE, _TOLERANCES * float(np.median(away)))
        alike = away < tolerance
    surface = (factors.T @ terms.reshape(6, -1)).reshape(pixels.shape)
    return surface, tolerance


def _terms(height: int, width: int) -> Floats:
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None] + np.zeros((1, width), np.float32)
    x = np.linspace(-1, 1, width, dtype=np.float32)[None] + np.zeros((height, 1), np.float32)
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y])


def _spread(planes: Floats, known: Mask) -> Floats:
    """Spread the known pixels' values over the whole picture, as means over cells of 8x8 pixels.

    A cell with few known pixels takes its value from larger surroundings.
    """
    _, height, width = planes.shape
    cells = np.concatenate([planes * known, known[None].astype(np.float32)])
    for _ in range(_HALVINGS):
        cells = _halved(cells)
    size = (cells.shape[2] << _HALVINGS, cells.shape[1] << _HALVINGS)
    spread = [Image.fromarray(p).resize(size, Image.Resampling.BILINEAR) for p in _filled(cells)]
    return np.stack([np.asarray(plane)[:height, :width] for plane in spread])


def _filled(cells: Floats) -> Floats:
    """Value of each cell; the last plane is the weight, and where it is small coarser cells count."""
    weight = cells[-1]
    mean: Floats = cells[:-1] / np.maximum(weight, np.float32(1e-6))
    if cells.shape[1:] == (1, 1):
        return mean
    around = _filled(_halved(cells)).repeat(2, axis=1).repeat(2, axis=2)
    trust = weight / (weight + _HALF_TRUST)
    filled: Floats = trust * mean + (1 - trust) * around[:, : cells.shape[1], : cells.shape[2]]
    return filled


def _halved(planes: Floats) -> Floats:
    """Mean of each block of 2x2; what is missing at the far sides counts as 0."""
    _, height, width = planes.shape
    even: Floats = np.pad(planes, ((0, 0), (0, height % 2), (0, width % 2)))
    across: Floats = even[:, :, ::2] + even[:, :, 1::2]
    halved: Floats = (across[:, ::2] + across[:, 1::2]) / np.float32(4)
    return halved


def _distance(pixels: Floats, colour: Floats) -> Floats:
    """Distance of pixels from the background's colour; darkening down to a shadow's counts a part only."""
    power = np.maximum(np.einsum("i...,i...->...", colour, colour), 1e-4)
    shade = np.clip(np.einsum("i...,i...->...", pixels, colour) / power, _DARKEST_SHADE, 1.0)
    rest = pixels - shade * colour
    result: Floats = np.sqrt(
        np.einsum("i...,i...->...", rest, rest) + (_SHADE_WEIGHT * (1 - shade)) ** 2 * power
    )
    return result
