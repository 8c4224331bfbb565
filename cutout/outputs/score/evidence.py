"""Evidence: everything about a cutout that more than one measure needs, computed once."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cutout.outputs.score.background import Background, find_background
from cutout.outputs.score.masks import grow, outline
from cutout.outputs.score.regions import Indices, Mask, find_regions
from cutout.outputs.score.small_copy import Floats, SmallCopy

_VISIBLE = 0.1  # alpha above which a pixel joins its neighbours to one part
_BRIDGE = 1  # pixels by which parts are grown, so that a thin line stays one on the small copy
_PART = 0.0002  # share of the picture above which a part is a piece, and below it a speck
_LEAST_SPECK = 0.5  # pixels of the small copy


@dataclass(frozen=True)
class Parts:
    """Connected parts of the subject. `labels` of shape (height, width) is 0 outside them.

    `masses[label]` is the sum of a part's alpha in pixels of the small copy. A part is a piece or a speck, or
    neither if it is too small to be seen.
    """

    labels: Indices
    masses: Floats
    is_piece: Mask
    is_speck: Mask


def find_parts(copy: SmallCopy) -> Parts:
    labels = find_regions(grow(copy.alpha > _VISIBLE, _BRIDGE)).labels
    masses = np.bincount(labels.ravel(), copy.alpha.ravel()).astype(np.float32)
    masses[0] = 0
    is_piece = masses > _PART * copy.alpha.size
    return Parts(labels, masses, is_piece, (masses > _LEAST_SPECK) & ~is_piece)


@dataclass(frozen=True)
class Evidence:
    """A small copy, its background, the parts of its subject, and their outline.

    `background` is None if the alpha leaves too little of the picture out.
    """

    copy: SmallCopy
    background: Background | None
    parts: Parts

    @property
    def inside(self) -> Mask:
        return self.copy.inside

    @cached_property
    def area(self) -> int:
        """Pixels of the subject on the small copy."""
        return int(self.inside.sum())

    @cached_property
    def outline(self) -> Mask:
        return outline(self.inside)

    @cached_property
    def outline_length(self) -> int:
        return int(self.outline.sum())


def gather(copy: SmallCopy) -> Evidence:
    return Evidence(copy, find_background(copy), find_parts(copy))
