"""Full resolution: a cutout bought at the sent size, brought to the original's size.

The mask is fitted to the picture that was sent by a guided filter over 3x3 cells, and its coefficients are
applied to the original's pixels along the outline only. The result is corrected once by what it lacks,
shrunk, of the bought mask, and the colours at the edges are freed of the old background. Memory beyond the
original: the result, its alpha, and a stripe of rows.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from cutout.images.colours import needs_profile
from cutout.outputs.enlarge.alpha import FullAlpha, full_alpha
from cutout.outputs.enlarge.cleaning import cleaning
from cutout.outputs.enlarge.colours import composed
from cutout.outputs.enlarge.softness import SOFT, Judged, judged
from cutout.outputs.enlarge.tiles import Bytes

__all__ = ["SOFT", "Enlarged", "EnlargedAlpha", "enlarge", "enlarge_alpha"]


@dataclass(frozen=True)
class Enlarged:
    """A cutout at the original's size, mode RGBA, colours under alpha 0 being 0.

    `factor` is the original's width by that of the sent picture. `softness` is the mask's mean distance from
    the line of the colours at its edges, 0 to 1; 0 where no edge can be judged. `residual` is the mean
    difference of the result, shrunk, from the bought mask, in levels.
    """

    image: Image.Image
    factor: float
    softness: float
    residual: float


@dataclass(frozen=True)
class EnlargedAlpha:
    """Alpha at the original's size, its mask, the mask's softness, and the original's profile unless sRGB."""

    full: FullAlpha
    mask: Bytes
    judged: Judged
    profile: bytes | None

    @property
    def residual(self) -> float:
        height, width = self.mask.shape
        return float(np.abs(self.mask.astype(np.int16) - self.full.shrunk((width, height))).mean())


def enlarge(
    original: Image.Image,
    sent: Image.Image,
    bought: Image.Image,
    *,
    sharpen: bool | None = None,
    decontaminated: bool = False,
) -> Enlarged:
    """Return the cutout at the original's size, with the original's pixels and profile.

    `original` is upright, of mode RGB; `sent` is the picture as it was sent, in sRGB; `bought` is the RGBA
    bought for it. `sharpen` says that masks of this endpoint are softer than the pictures, or are not; None
    leaves it to the softness. `decontaminated` says that the bought colours are free of the background. Where
    original and sent picture are equally large, the result is what was bought. Raises ValueError if modes or
    sizes do not match.
    """
    _check(original, sent, bought)
    if original.size == sent.size:
        found = judged(np.asarray(sent), np.asarray(bought.getchannel("A")))
        return Enlarged(_without_hidden_colours(bought), 1.0, found.softness, 0.0)
    alpha = enlarge_alpha(original, sent, bought, sharpen=sharpen)
    edges = cleaning(original, bought, alpha.judged.near, alpha.profile, decontaminated=decontaminated)
    image = composed(original, alpha.full, edges)
    return Enlarged(image, original.width / sent.width, alpha.judged.softness, alpha.residual)


def enlarge_alpha(
    original: Image.Image, sent: Image.Image, bought: Image.Image, *, sharpen: bool | None = None
) -> EnlargedAlpha:
    """Return alpha at the original's size; arguments and errors as of `enlarge`."""
    _check(original, sent, bought)
    mask, cells = np.asarray(bought.getchannel("A")), np.asarray(sent)
    found = judged(cells, mask)
    target = found.sharpened if (found.is_soft if sharpen is None else sharpen) else mask
    profile = original.info.get("icc_profile") if needs_profile(original) else None
    return EnlargedAlpha(full_alpha(original, profile, cells, target), mask, found, profile)


def _check(original: Image.Image, sent: Image.Image, bought: Image.Image) -> None:
    modes = original.mode, sent.mode, bought.mode
    if modes != ("RGB", "RGB", "RGBA"):
        raise ValueError(f"modes {modes}: convert original and sent to RGB, bought to RGBA")
    if bought.size != sent.size:
        raise ValueError(f"bought {bought.size} differs from sent {sent.size}: give the picture that was cut")
    if original.width < sent.width or original.height < sent.height:
        raise ValueError(f"original {original.size} is smaller than sent {sent.size}: give the original")


def _without_hidden_colours(bought: Image.Image) -> Image.Image:
    shown = bought.getchannel("A").point(lambda level: 255 if level else 0)
    result = Image.new("RGBA", bought.size)
    result.paste(bought, mask=shown)
    return result
