"""Measures of the outline's position: where the picture's edges are, beside where the outline lies.

Each is None without an outline, a background, or edges to compare with.
"""

from itertools import pairwise

import numpy as np

from cutout.outputs.score.evidence import Evidence
from cutout.outputs.score.masks import grow, shrink
from cutout.outputs.score.regions import Mask

_LEAST_OUTLINE = 8  # pixels
_REACH = 5  # pixels of displacement, growth and shrinkage
_HERE = 1  # pixels within which the outline counts as where it is
_BESIDE = 3  # pixels outside the outline, where nothing of a subject's antialiased edge is left
_OWN_STEPS = 2  # median steps of the background that are subtracted
_STRONGEST = 0.15  # a step above it counts no more: an outline of weaker contrast is as good
_WEAKEST = 0.005  # mean step below which there is nothing to align with


def displacement(evidence: Evidence) -> float | None:
    """Mean step of colour along the outline displaced by 2 to 5 pixels, over that where it lies."""
    background = evidence.background
    if background is None or evidence.outline_length < _LEAST_OUTLINE:
        return None
    steps = np.minimum(background.steps, _STRONGEST)
    height, width = steps.shape
    rows, columns = np.nonzero(evidence.outline)
    here = there = 0.0
    for down in range(-_REACH, _REACH + 1):
        at_row = np.clip(rows + down, 0, height - 1) * width
        for right in range(-_REACH, _REACH + 1):
            if down * down + right * right > _REACH * _REACH:
                continue
            mean = float(steps.ravel()[at_row + np.clip(columns + right, 0, width - 1)].mean())
            if max(abs(down), abs(right)) <= _HERE:
                here = max(here, mean)
            else:
                there = max(there, mean)
    return there / here if here > _WEAKEST else None


def growth(evidence: Evidence) -> float | None:
    """Mean step of colour along the outline grown or shrunk by 2 to 5 pixels, over that where it lies."""
    background = evidence.background
    if background is None or evidence.outline_length < _LEAST_OUTLINE:
        return None
    steps = np.minimum(background.steps, _STRONGEST)
    rings = _rings(evidence.inside)
    means = [float(steps[ring].mean()) if ring.sum() >= _LEAST_OUTLINE else 0.0 for ring in rings]
    here = means[_REACH - 1 : _REACH + 1]
    there = means[: _REACH - 1] + means[_REACH + 1 :]
    return max(there) / max(here) if max(here) > _WEAKEST else None


def unrest(evidence: Evidence) -> float | None:
    """Mean step of colour 3 pixels outside the alpha, over that along the outline.

    The background's own steps are subtracted from both. The value is high if the subject continues beyond the
    outline, or if its edge runs beside it.
    """
    background = evidence.background
    if background is None or evidence.outline_length < _LEAST_OUTLINE:
        return None
    steps = np.maximum(np.minimum(background.steps, _STRONGEST) - np.float32(_OWN_STEPS * background.step), 0)
    along = float(steps[evidence.outline].mean())
    visible = ~evidence.copy.outside
    beside = grow(visible, _BESIDE) & ~grow(visible, _BESIDE - 1)
    if along < _WEAKEST or not beside.any():
        return None
    return float(steps[beside].mean()) / along


def _rings(mask: Mask) -> list[Mask]:
    """Rings of one pixel: five inside the outline, the innermost first, and five outside."""
    inner = [mask]
    for _ in range(_REACH):
        inner.append(shrink(inner[-1], 1))
    outer = [mask]
    for _ in range(_REACH):
        outer.append(grow(outer[-1], 1))
    sizes = [*reversed(inner), *outer[1:]]
    return [larger & ~smaller for smaller, larger in pairwise(sizes)]
