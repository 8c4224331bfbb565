"""Encoding of an output, at a lower quality where it would be too large."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from PIL import Image

from cutout.outputs.output_error import OutputError
from cutout.outputs.recipes.recipe import NO_DPI, NO_QUALITY, Recipe

FORMAT_LIMIT = "OUTPUT_FORMAT_LIMIT"
LONGEST_SIDE = {"jpeg": 65_500, "webp": 16_383, "avif": 65_535}
_QUALITY_STEP, _QUALITY_LEAST = 5, 50
_FULL_COLOUR_QUALITY = 90  # from this quality on, colours are kept at full resolution
_PNG_LEVELS = (1, 9)  # of 9: the second only if the first is too large

# AVIF of 80 megapixels of noise took 130 s at its usual speed of 6, and 14 s at 9 with 2 % more bytes.
_FAST_PIXELS, _FAST = 12_000_000, 9

# A quality, and the encoder's words for it.
_Setting = tuple[int | None, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Encoded:
    """The file, and the quality that it was encoded at; None for PNG."""

    data: bytes
    quality: int | None


def encode(
    picture: Image.Image,
    recipe: Recipe,
    *,
    icc_profile: bytes | None,
    dpi: tuple[float, float] | None,
) -> Encoded:
    """Encode at the recipe's quality, in steps of 5 down to 50 until `max_bytes` holds.

    If none holds, the smallest is returned. Raises OutputError if the format cannot be so large.
    """
    most = LONGEST_SIDE.get(recipe.format)
    if most is not None and max(picture.size) > most:
        raise OutputError(
            FORMAT_LIMIT,
            f"{picture.width}x{picture.height} pixels; {recipe.format} takes {most} a side: give format=png",
        )
    words: dict[str, Any] = {"icc_profile": icc_profile}
    if dpi is not None and recipe.format not in NO_DPI:
        words["dpi"] = dpi
    if recipe.format == "avif" and picture.width * picture.height > _FAST_PIXELS:
        words["speed"] = _FAST

    def encoded(setting: _Setting) -> Encoded:
        quality, more = setting
        buffer = io.BytesIO()
        picture.save(buffer, recipe.format.upper(), **words, **more)
        return Encoded(buffer.getvalue(), quality)

    return _best(encoded, list(_settings(recipe)), recipe.max_bytes)


def _best(encoded: Callable[[_Setting], Encoded], settings: list[_Setting], max_bytes: int | None) -> Encoded:
    """Return the first that is small enough, else the smaller one of the first and the last.

    A lower quality is taken to give a smaller file, so that few are encoded.
    """
    first = encoded(settings[0])
    if max_bytes is None or len(first.data) <= max_bytes or len(settings) == 1:
        return first
    found = encoded(settings[-1])
    if len(found.data) > max_bytes:
        return min(first, found, key=lambda each: len(each.data))
    too_large, small_enough = 0, len(settings) - 1
    while small_enough - too_large > 1:
        middle = (too_large + small_enough) // 2
        tried = encoded(settings[middle])
        if len(tried.data) <= max_bytes:
            found, small_enough = tried, middle
        else:
            too_large = middle
    return found


def _settings(recipe: Recipe) -> Iterator[_Setting]:
    """Yield qualities with the encoder's settings, best first."""
    if recipe.format in NO_QUALITY:
        for level in _PNG_LEVELS:
            yield None, {"compress_level": level}
        return
    lowest = min(recipe.quality, _QUALITY_LEAST)
    for quality in range(recipe.quality, lowest - 1, -_QUALITY_STEP):
        more: dict[str, Any] = {"quality": quality}
        if recipe.format == "jpeg":
            more["subsampling"] = 0 if quality >= _FULL_COLOUR_QUALITY else 2
        yield quality, more
