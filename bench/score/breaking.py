"""Ways to break a good alpha on purpose, as matting networks and transfers break it.

Lengths are shares of the longer side; an alpha is of mode L.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

Break = Callable[[Image.Image, Image.Image], Image.Image]  # alpha and another picture's alpha, to an alpha
_SEED = 5
_CUT = 128


def _empty(alpha: Image.Image, _: Image.Image) -> Image.Image:
    return Image.new("L", alpha.size, 0)


def _full(alpha: Image.Image, _: Image.Image) -> Image.Image:
    return Image.new("L", alpha.size, 255)


def _tiny(alpha: Image.Image, _: Image.Image) -> Image.Image:
    """A spot of the subject's, 3% wide."""
    side = max(1, round(0.03 * max(alpha.size)))
    left, top, right, bottom = _box(alpha)
    x, y = (left + right - side) // 2, (top + bottom - side) // 2
    kept = Image.new("L", alpha.size, 0)
    kept.paste(255, (x, y, x + side, y + side))
    return kept


def _inverted(alpha: Image.Image, _: Image.Image) -> Image.Image:
    return ImageChops.invert(alpha)


def _of_another(alpha: Image.Image, other: Image.Image) -> Image.Image:
    return other.resize(alpha.size)


def _halo(share: float, alpha: Image.Image, _: Image.Image) -> Image.Image:
    return _ranked(alpha, np.maximum, share)


def _eaten(share: float, alpha: Image.Image, _: Image.Image) -> Image.Image:
    return _ranked(alpha, np.minimum, share)


def _blurred(alpha: Image.Image, _: Image.Image) -> Image.Image:
    return alpha.filter(ImageFilter.GaussianBlur(0.01 * max(alpha.size)))


def _coarse(alpha: Image.Image, _: Image.Image) -> Image.Image:
    """An alpha computed on 64 pixels and enlarged."""
    small = alpha.copy()
    small.thumbnail((64, 64))
    return small.resize(alpha.size, Image.Resampling.BICUBIC)


def _lost(share: float, alpha: Image.Image, _: Image.Image) -> Image.Image:
    """The lower part of the subject is missing."""
    box = _box(alpha)
    top, bottom = box[1], box[3]
    kept = alpha.copy()
    kept.paste(0, (0, round(bottom - share * (bottom - top)), *alpha.size))
    return kept


def _block(alpha: Image.Image, _: Image.Image) -> Image.Image:
    """A block of background is attached to the subject's side, a fifth of the picture wide and high."""
    left, top, right, bottom = _box(alpha)
    width, height = alpha.width // 5, alpha.height // 5
    is_right = alpha.width - right > left
    x = right - width // 4 if is_right else left - width + width // 4
    y = (top + bottom - height) // 2
    kept = alpha.copy()
    kept.paste(255, (x, y, x + width, y + height))
    return kept


def _specks(alpha: Image.Image, _: Image.Image) -> Image.Image:
    """Thirty spots in the background, 1% wide."""
    random = np.random.default_rng(_SEED)
    kept, radius = alpha.copy(), max(1, round(0.005 * max(alpha.size)))
    draw = ImageDraw.Draw(kept)
    for x, y in random.random((30, 2)) * alpha.size:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return kept


def _hole(alpha: Image.Image, _: Image.Image) -> Image.Image:
    """A round hole where the subject is thickest, of half its thickness there."""
    small = alpha.copy()
    small.thumbnail((256, 256))
    pixels, radius = np.asarray(small) >= _CUT, 0
    while True:
        smaller = pixels & _shifted(pixels, 1, 0) & _shifted(pixels, -1, 0)
        smaller &= _shifted(pixels, 0, 1) & _shifted(pixels, 0, -1)
        if not smaller.any():
            break
        pixels, radius = smaller, radius + 1
    row, column = np.argwhere(pixels)[0] if pixels.any() else (0, 0)
    scale = max(alpha.size) / max(small.size)
    x, y, reach = (column + 0.5) * scale, (row + 0.5) * scale, max(1.0, radius / 2) * scale
    kept = alpha.copy()
    ImageDraw.Draw(kept).ellipse((x - reach, y - reach, x + reach, y + reach), fill=0)
    return kept


def _strip(alpha: Image.Image, _: Image.Image) -> Image.Image:
    """A strip of the background along one side is kept, 3% wide."""
    kept = alpha.copy()
    kept.paste(255, (0, 0, max(1, round(0.03 * alpha.width)), alpha.height))
    return kept


def _haze(alpha: Image.Image, _: Image.Image) -> Image.Image:
    return alpha.point(lambda level: max(level, 20))


def _half_transparent(alpha: Image.Image, _: Image.Image) -> Image.Image:
    return alpha.point(lambda level: level // 2)


def _displaced(share: float, alpha: Image.Image, _: Image.Image) -> Image.Image:
    length = round(share * max(alpha.size))
    kept = Image.new("L", alpha.size, 0)
    kept.paste(alpha, (length, length // 2))
    return kept


WAYS: dict[str, Break] = {
    "empty": _empty,
    "tiny": _tiny,
    "full": _full,
    "inverted": _inverted,
    "another picture's": _of_another,
    "halo of 1%": partial(_halo, 0.01),
    "halo of 2%": partial(_halo, 0.02),
    "eaten by 1%": partial(_eaten, 0.01),
    "eaten by 2%": partial(_eaten, 0.02),
    "blurred by 1%": _blurred,
    "of 64 pixels": _coarse,
    "half lost": partial(_lost, 1 / 2),
    "third lost": partial(_lost, 1 / 3),
    "block attached": _block,
    "specks": _specks,
    "hole": _hole,
    "strip kept": _strip,
    "haze": _haze,
    "half transparent": _half_transparent,
    "displaced by 1%": partial(_displaced, 0.01),
    "displaced by 3%": partial(_displaced, 0.03),
}


def _box(alpha: Image.Image) -> tuple[int, int, int, int]:
    """Box of the pixels that are more opaque than not; the whole picture if there are none."""
    box = alpha.point(lambda level: 255 if level >= _CUT else 0).getbbox()
    return box or (0, 0, *alpha.size)


def _ranked(alpha: Image.Image, rank: np.ufunc, share: float) -> Image.Image:
    """Maximum or minimum over squares that reach `share` of the longer side each way, by doubling."""
    radius = max(1, round(share * max(alpha.size)))
    window, levels = 2 * radius + 1, np.pad(np.asarray(alpha), radius, mode="edge")
    for _ in range(2):
        span = 1
        while span < window:
            step = min(span, window - span)
            levels = rank(levels[:-step], levels[step:])
            span += step
        levels = levels.T
    return Image.fromarray(np.ascontiguousarray(levels))


def _shifted(mask: NDArray[np.bool_], down: int, right: int) -> NDArray[np.bool_]:
    """The mask moved by one pixel; what comes in is False."""
    moved = np.roll(mask, (down, right), (0, 1))
    if down:
        moved[0 if down > 0 else -1] = False
    if right:
        moved[:, 0 if right > 0 else -1] = False
    return moved
