"""Layout of an output: its canvas, and the place and scale of the subject on it."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from PIL import Image

from cutout.outputs.output_error import OutputError
from cutout.outputs.recipes.keys import PIXELS_MAX
from cutout.outputs.recipes.recipe import Recipe
from cutout.outputs.render.cut_sides import find_cut_sides
from cutout.outputs.render.subject_box import Box, find_subject

EMPTY = "OUTPUT_SUBJECT_EMPTY"
TOO_LARGE = "OUTPUT_TOO_LARGE"
_SAMPLE = 256  # pixels of the longer side: enough for a centre of mass


@dataclass(frozen=True, slots=True)
class Layout:
    """Place of the subject: `box` of the picture given is drawn at `at` in `size`, `scale` times as large.

    `wanted_fill` is the share of the canvas on the side that binds, had the source pixels enough; None for
    a canvas that follows the picture. `margins` are left, top, right and bottom in pixels; `is_limited` is
    whether the source has too few pixels. `cut_sides` are the sides on which the photo crops the subject;
    they are not looked for where the canvas follows the picture.
    """

    canvas: tuple[int, int]
    box: Box
    size: tuple[int, int]
    at: tuple[int, int]
    scale: float = 1.0
    wanted_fill: float | None = None
    margins: tuple[float, float, float, float] = (0, 0, 0, 0)
    is_limited: bool = False
    cut_sides: frozenset[str] = frozenset()
    specks: int = 0


def lay_out(
    recipe: Recipe, alpha: Image.Image, *, natural_scale: float, cut_sides: Collection[str] | None
) -> Layout:
    """Lay out the subject of an alpha channel; `natural_scale` is original pixels per pixel of it.

    `cut_sides` are the sides on which the photo crops the subject, None to find them.
    Raises OutputError if nothing is visible, unless the canvas is the source.
    """
    if recipe.canvas == "source":
        return Layout(alpha.size, (0, 0, *alpha.size), alpha.size, (0, 0))
    if recipe.canvas == "subject":
        return _around_subject(recipe, alpha)
    subject = find_subject(alpha)
    if subject is None:
        raise _empty()
    cut_sides = find_cut_sides(alpha, subject.box) if cut_sides is None else cut_sides
    snapped = cut_sides if recipe.cut == "snap" else ()
    margins = _margins(recipe, recipe.canvas, snapped)
    (left, top, right, bottom), (width, height) = subject.box, recipe.canvas
    box_size = (right - left, bottom - top)
    room = (_room(recipe, width, margins[::2]), _room(recipe, height, margins[1::2]))
    wanted = min(room[0] / box_size[0], room[1] / box_size[1])
    scale = min(wanted, recipe.enlarge * natural_scale)
    size = (_pixels(box_size[0] * scale, width), _pixels(box_size[1] * scale, height))
    middle = _off_centre(alpha.crop(subject.box)) if recipe.align == "optical" else (0.0, 0.0)
    return Layout(
        canvas=recipe.canvas,
        box=subject.box,
        size=size,
        at=(
            _start(width, size[0], margins[::2], middle[0], ("left" in snapped, "right" in snapped)),
            _start(height, size[1], margins[1::2], middle[1], _vertical_ends(recipe, snapped)),
        ),
        scale=scale,
        wanted_fill=max(box_size[0] * wanted / width, box_size[1] * wanted / height),
        margins=margins,
        is_limited=scale < wanted,
        cut_sides=frozenset(cut_sides),
        specks=subject.specks,
    )


def _empty() -> OutputError:
    return OutputError(EMPTY, "the cutout is wholly transparent: no subject was found; send another picture")


def _around_subject(recipe: Recipe, alpha: Image.Image) -> Layout:
    """Lay out a canvas that has every pixel that is not wholly transparent, and the margin."""
    box = alpha.getbbox()
    if box is None:
        raise _empty()
    size = (box[2] - box[0], box[3] - box[1])
    at = (round(recipe.margin.pixels(size[0])), round(recipe.margin.pixels(size[1])))
    canvas = (size[0] + 2 * at[0], size[1] + 2 * at[1])
    if canvas[0] * canvas[1] > PIXELS_MAX:
        raise OutputError(
            TOO_LARGE, f"{canvas[0]}x{canvas[1]} pixels are more than {PIXELS_MAX}; give a smaller margin"
        )
    return Layout(canvas, box, size, at)


def _margins(
    recipe: Recipe, canvas: tuple[int, int], snapped: Collection[str]
) -> tuple[float, float, float, float]:
    """Return the margins at left, top, right and bottom in pixels: 0 where the subject snaps to the edge."""

    def margin(side: str, length: int) -> float:
        if side in snapped:
            return 0.0
        return recipe.margin.pixels(length) if recipe.margin.value else (1 - recipe.fill) * length / 2

    width, height = canvas
    return margin("left", width), margin("top", height), margin("right", width), margin("bottom", height)


def _room(recipe: Recipe, length: int, margins: tuple[float, ...]) -> float:
    """Return the pixels along one axis that the subject may take.

    Its share is `fill` also where it snaps to one edge; between two edges it takes all.
    """
    if recipe.margin.value or not any(margins):
        return length - sum(margins)
    return recipe.fill * length


def _pixels(length: float, most: int) -> int:
    return min(max(1, round(length)), most)


def _vertical_ends(recipe: Recipe, snapped: Collection[str]) -> tuple[bool, bool]:
    """Return whether the subject lies at the top, and at the bottom; a cropped side goes before `align`."""
    ends = ("top" in snapped, "bottom" in snapped)
    return ends if any(ends) else (recipe.align == "top", recipe.align == "bottom")


def _start(
    canvas: int, length: int, margins: tuple[float, ...], off_centre: float, ends: tuple[bool, bool]
) -> int:
    """Return the first pixel of the subject along one axis; `ends`: whether it lies at the start, the end."""
    before, after = margins
    if ends == (True, False):
        return round(before)
    if ends == (False, True):
        return round(canvas - after - length)
    start = before + (canvas - before - after - length) / 2 - off_centre * length / 2
    return round(min(max(start, before / 2), canvas - length - after / 2))


def _off_centre(alpha: Image.Image) -> tuple[float, float]:
    """Return the distance of the centre of mass from the middle, as shares of width and height."""
    small = np.asarray(alpha.reduce(-(-max(alpha.size) // _SAMPLE)), np.float64)
    total = small.sum() or 1.0
    rows, columns = small.sum(axis=1), small.sum(axis=0)
    return _mean(columns, total) - 0.5, _mean(rows, total) - 0.5


def _mean(weights: np.ndarray[tuple[int, ...], np.dtype[np.float64]], total: float) -> float:
    return float(weights @ (np.arange(len(weights)) + 0.5)) / total / len(weights)
