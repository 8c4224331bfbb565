"""Smooth surfaces through scattered pixels: the light on a background."""

import numpy as np
from PIL import Image

from sandbox.matting.colour import Array, Mask, dot

CELL = 6  # pixels; a background is smooth enough for a grid this coarse
_TRUST = 0.02  # the share of known pixels around that makes the local colour weigh one half
_FIT_ROUNDS = 4
# Damps the bent terms of the surface, which border pixels alone hold badly.
_DAMPING = np.diag([0.0] * 3 + [0.5] * 3 + [2.0] * 4).astype(np.float32) * np.float32(1e-3)


def fit_surface(pixels: Array, border: Mask) -> tuple[Array, float]:
    """Fit a cubic surface to the border's pixels, leaving out what does not belong to most of them.

    Gives the surface and the border's median distance from it.
    """
    _, height, width = pixels.shape
    terms = _terms(height, width)
    outer_terms, outer = terms[:, border.ravel()], pixels[:, border]
    away = outer - np.median(outer, axis=1, keepdims=True)
    far = np.sqrt(dot(away, away))
    kept = far <= np.quantile(far, 0.8)
    for _ in range(_FIT_ROUNDS):
        known = outer_terms[:, kept]
        count = known.shape[1]
        factors = np.linalg.solve(known @ known.T / count + _DAMPING, known @ outer[:, kept].T / count)
        away = (outer - factors.T @ outer_terms).astype(np.float32)
        far = np.sqrt(dot(away, away))
        kept = far < max(0.02, 2.5 * float(np.median(far)))
    return (factors.T @ terms).reshape(3, height, width), float(np.median(far))


def _terms(height: int, width: int) -> Array:
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32).reshape(2, -1)
    one = np.ones_like(x)
    return np.stack([one, x, y, x * x, x * y, y * y, x**3, x * x * y, x * y * y, y**3])


def spread(pixels: Array, known: Mask, fallback: Array, reach: int) -> Array:
    """Spread the colours of the known pixels over the whole, `reach` cells far; then `fallback`."""
    _, height, width = pixels.shape
    weights = known.astype(np.float32)
    cells = _to_cells(np.concatenate([pixels * weights, weights[None]]))
    window = (2 * reach + 1) * (2 * (reach // 2) + 1)
    sums = box_sum(box_sum(cells, reach), reach // 2) / np.float32((window * CELL) ** 2)
    share = sums[3]
    trust = share / (share + _TRUST)
    coarse_fallback = _to_cells(fallback, edge=True) / np.float32(CELL**2)
    coarse = trust * sums[:3] / np.maximum(share, 1e-6) + (1 - trust) * coarse_fallback
    size = (coarse.shape[2] * CELL, coarse.shape[1] * CELL)
    planes = [Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR) for plane in coarse]
    return np.stack([np.asarray(plane)[:height, :width] for plane in planes])


def _to_cells(planes: Array, *, edge: bool = False) -> Array:
    """Sum over cells, padded with nothing or with the last pixels."""
    _, height, width = planes.shape
    padding = ((0, 0), (0, -height % CELL), (0, -width % CELL))
    padded = np.pad(planes, padding, mode="edge" if edge else "constant")
    # Adding strided slices; numpy's sum over a short axis takes several times as long.
    across = np.zeros_like(padded[:, :, ::CELL])
    for step in range(CELL):
        across += padded[:, :, step::CELL]
    cells = np.zeros_like(across[:, ::CELL])
    for step in range(CELL):
        cells += across[:, step::CELL]
    return cells


def box_sum(planes: Array, radius: int) -> Array:
    """Sum each plane over squares reaching `radius` pixels each way; outside counts as nothing."""
    for axis in (1, 2):
        length = planes.shape[axis]
        sums = np.insert(np.cumsum(planes, axis=axis), 0, 0, axis=axis)
        places = np.arange(length)
        upper = sums.take(np.minimum(places + radius + 1, length), axis=axis)
        planes = upper - sums.take(np.maximum(places - radius, 0), axis=axis)
    return planes
