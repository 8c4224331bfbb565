"""Cutouts for tests: the photos cut out by the sandbox, and 20 odd ones that are drawn here."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from _pytest.mark import ParameterSet
from PIL import Image, ImageDraw, ImageFilter

from sandbox.matting.cut_out import cut_out
from tests.docs.pages import ROOT

PHOTOS = sorted((ROOT / "photos").glob("*.jpg"))
CROPPED_BY_PHOTO = ("alex-rodriguez", "caleb-george", "pierre-chatel", "thomas-q")
INK = (140, 60, 30)
LONGER_SIDE = 2_450  # of a subject with enough pixels for each preset
MARGIN = 20
SQUARE = (2600, 2600)


@cache
def cutout_of(photo: Path) -> Image.Image:
    """Return the photo cut out, RGBA."""
    with Image.open(photo) as picture:
        return cut_out(picture.convert("RGB"))


def large_cutout_of(photo: Path) -> Image.Image:
    """Return the subject as a photo with enough pixels for each preset would show it."""
    cutout = cutout_of(photo)
    left, top, right, bottom = cutout.getchannel("A").getbbox() or (0, 0, 1, 1)
    part = cutout.crop(
        (
            max(0, left - MARGIN),
            max(0, top - MARGIN),
            min(cutout.width, right + MARGIN),
            min(cutout.height, bottom + MARGIN),
        )
    )
    growth = LONGER_SIDE / max(right - left, bottom - top)
    return part.resize((round(part.width * growth), round(part.height * growth)), Image.Resampling.BICUBIC)


def photos(reason: str) -> list[ParameterSet]:
    """Return all photos as parameters of a test: one in the first tier, the others in long tests."""
    long = pytest.mark.long(f"{reason}; one photo is in the first tier")
    return [
        pytest.param(photo, id=photo.name[:12], marks=() if number == 0 else long)
        for number, photo in enumerate(PHOTOS)
    ]


def is_cropped(photo: Path) -> bool:
    """Whether the photo itself crops its subject, as judged by eye."""
    return photo.name.startswith(CROPPED_BY_PHOTO)


def drawn(size: tuple[int, int], *boxes: tuple[float, float, float, float], alpha: int = 255) -> Image.Image:
    """Return an RGBA picture with rectangles, each by left, top, right and bottom (outside)."""
    picture = Image.new("RGBA", size, (0, 0, 0, 0))
    pen = ImageDraw.Draw(picture)
    for left, top, right, bottom in boxes:
        pen.rectangle((left, top, right - 1, bottom - 1), fill=(*INK, alpha))
    return picture


def _round(size: tuple[int, int], box: tuple[float, float, float, float]) -> Image.Image:
    picture = Image.new("RGBA", size, (0, 0, 0, 0))
    ImageDraw.Draw(picture).ellipse(box, fill=(*INK, 255))
    return picture


def _specked() -> Image.Image:
    picture = drawn(SQUARE, (300, 300, 2300, 2300))
    random = np.random.default_rng(5)
    for x, y in random.integers(0, SQUARE[0] - 3, (40, 2)).tolist():
        picture.paste((*INK, 255), (x, y, x + 3, y + 3))
    return picture


def _blurred(picture: Image.Image, radius: float) -> Image.Image:
    picture.putalpha(picture.getchannel("A").filter(ImageFilter.GaussianBlur(radius)))
    return picture


def _hazy() -> Image.Image:
    picture = drawn(SQUARE, (300, 300, 2300, 2300))
    picture.putalpha(picture.getchannel("A").point([9, *range(1, 256)]))
    return picture


def _hairy() -> Image.Image:
    picture = drawn(SQUARE, (300, 900, 2300, 2300))
    pen = ImageDraw.Draw(picture)
    for x in range(400, 2200, 25):
        pen.line((x, 900, x + 60, 300), fill=(*INK, 200), width=3)
    return picture


PASSING = ("diagonal", "half transparent", "soft", "specks", "haze", "hair", "two parts")
"""Odd cutouts within the photo that have enough pixels."""

ODD: dict[str, Callable[[], Image.Image]] = {
    "long": lambda: drawn((3000, 300), (40, 100, 2960, 200)),
    "thin": lambda: drawn((300, 3000), (140, 20, 150, 2980)),
    "strip of the least size": lambda: drawn((33, 3000), (5, 10, 28, 2990)),
    "diagonal": lambda: _blurred(drawn(SQUARE, *((n, n, n + 6, n + 6) for n in range(200, 2400, 3))), 1),
    "at the left": lambda: drawn(SQUARE, (0, 300, 2100, 2300)),
    "at the bottom": lambda: drawn(SQUARE, (300, 500, 2300, 2600)),
    "at left and right": lambda: drawn(SQUARE, (0, 800, 2600, 1700)),
    "at all sides": lambda: drawn((2200, 2200), (0, 0, 2200, 2200)),
    "in a corner": lambda: drawn(SQUARE, (1500, 0, 2600, 1500)),
    "tiny": lambda: drawn((2000, 2000), (990, 990, 1010, 1010)),
    "one pixel": lambda: drawn((2000, 2000), (1000, 1000, 1001, 1001)),
    "small picture": lambda: drawn((800, 600), (200, 100, 600, 500)),
    "least picture": lambda: drawn((33, 33), (8, 8, 25, 25)),
    "half transparent": lambda: drawn(SQUARE, (300, 300, 2300, 2300), alpha=128),
    "glass": lambda: drawn(SQUARE, (300, 300, 2300, 2300), alpha=40),
    "soft": lambda: _blurred(_round(SQUARE, (250, 250, 2350, 2350)), 40),
    "specks": _specked,
    "haze": _hazy,
    "hair": _hairy,
    "two parts": lambda: drawn(SQUARE, (300, 300, 1200, 1700), (1800, 300, 2300, 2200)),
}
"""Functions that draw 20 odd cutouts, by name."""


@cache
def odd_subject(kind: str) -> Image.Image:
    return ODD[kind]()
