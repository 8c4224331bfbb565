"""Measures of the alpha alone: its levels, its parts, and where it meets the picture's border."""

import math

import numpy as np

from cutout.outputs.score.evidence import Evidence
from cutout.outputs.score.masks import border, shrink

_FAINT, _BARELY, _MOSTLY, _CLEARLY = 3, 38, 128, 230  # levels of alpha: 1%, 15%, half, 90%
_VISIBLE = 26  # 10%
_LEAST_OUTLINE = 8  # pixels


def area(evidence: Evidence) -> float:
    """Share of the picture that is more opaque than not."""
    levels = evidence.copy.histogram
    return float(levels[_MOSTLY:].sum() / levels.sum())


def visible_area(evidence: Evidence) -> float:
    """Share of the picture whose alpha is at least 10%."""
    levels = evidence.copy.histogram
    return float(levels[_VISIBLE:].sum() / levels.sum())


def semi(evidence: Evidence) -> float | None:
    """Share of the visible pixels that are partly transparent and surrounded by others that are."""
    alpha = evidence.copy.alpha
    visible = alpha > _VISIBLE / 255
    partly = visible & (alpha < _CLEARLY / 255)
    return float(shrink(partly, 1).sum() / visible.sum()) if visible.any() else None


def haze(evidence: Evidence) -> float:
    """Share of the picture whose alpha is between 1% and 15%."""
    levels = evidence.copy.histogram
    return float(levels[_FAINT : _BARELY + 1].sum() / levels.sum())


def softness(evidence: Evidence) -> float | None:
    """Mean width of the outline's transition from 10% to 90%, over the square root of the subject's area."""
    if evidence.outline_length < _LEAST_OUTLINE:
        return None
    scale = evidence.copy.scale
    transition = evidence.copy.histogram[_VISIBLE:_CLEARLY].sum()
    return float(transition / (evidence.outline_length * scale * math.sqrt(evidence.area) * scale))


def islands(evidence: Evidence) -> float:
    """Number of the subject's pieces."""
    return float(evidence.parts.is_piece.sum())


def stray(evidence: Evidence) -> float:
    """Number of specks outside the box around all pieces."""
    parts = evidence.parts
    outside = parts.is_speck.copy()
    if outside.any() and parts.is_piece.any():
        mask = parts.is_piece[parts.labels]
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        outside[parts.labels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]] = False
    return float(outside.sum())


def main_part(evidence: Evidence) -> float | None:
    """Share of the subject that its largest part is."""
    masses = evidence.parts.masses
    return float(masses.max() / masses.sum()) if masses.any() else None


def border_kept(evidence: Evidence) -> float:
    """Share of the picture's border pixels that are the subject's."""
    mask = border(evidence.copy.shape)
    return float(evidence.inside[mask].mean())


def across(evidence: Evidence) -> float:
    """Lesser share of two opposite sides that the subject touches, of the pair with more."""
    inside = evidence.inside
    pairs = ((inside[0], inside[-1]), (inside[:, 0], inside[:, -1]))
    return max(min(float(one.mean()), float(other.mean())) for one, other in pairs)


def corners(evidence: Evidence) -> float:
    """Number of the picture's corners that are the subject's."""
    return float(evidence.inside[[0, 0, -1, -1], [0, -1, 0, -1]].sum())
