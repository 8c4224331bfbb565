"""Problems of an output: each demand of its rule that its measures do not meet."""

from collections.abc import Iterator

from cutout.outputs.recipes.presets import PRESETS
from cutout.outputs.recipes.recipe import Recipe
from cutout.outputs.recipes.rule import Rule, size_faults
from cutout.outputs.render.layout import Layout
from cutout.outputs.render.measure import RING, Measures

_LOSSY_TOLERANCE = 4  # levels that a lossy format may move a flat colour by
_FILL_TOLERANCE = 0.01
_ROUNDING_PIXELS = 1.5
_SCALE_TOLERANCE = 1.01
_JPEG_BLOCK = 8  # pixels: a block with the subject in it has ripples
_NO_RULE = Rule()


def find_problems(measures: Measures, recipe: Recipe, layout: Layout) -> Iterator[str]:
    """Yield the name of each demand that is not met, then value and limit: `fill: 0.4; at least 0.85`."""
    rule = _NO_RULE if recipe.preset is None else PRESETS[recipe.preset].rule
    width, height = measures["width"], measures["height"]
    if (width, height) != layout.canvas:
        yield f"size: {width}x{height} pixels; must be {layout.canvas[0]}x{layout.canvas[1]}"
    yield from (f"size: {fault}" for fault in size_faults(rule, width, height))
    most = min((limit for limit in (rule.bytes_max, recipe.max_bytes) if limit is not None), default=None)
    if most is not None and measures["bytes"] > most:
        yield f"bytes: {measures['bytes']}; at most {most}"
    if measures["is_empty"]:
        yield "subject: wholly transparent; no subject was found"
    yield from _of_mode(measures, recipe, rule)
    yield from _of_ring(measures, recipe, rule, layout)
    yield from _of_fill(measures, recipe, rule, layout)
    yield from _of_pixels(measures, recipe, layout)
    if rule.whole and measures["cut_sides"]:
        yield f"whole: the photo crops the subject at {', '.join(measures['cut_sides'])}; must show all of it"


def _of_mode(measures: Measures, recipe: Recipe, rule: Rule) -> Iterator[str]:
    wanted = rule.mode or recipe.mode
    found = measures["mode"]
    # A picture without a transparent pixel is saved without alpha by some formats.
    if found != wanted and not (measures["is_opaque"] and (found, wanted) == ("RGB", "RGBA")):
        yield f"mode: {found}; must be {wanted}"
    if rule.formats is not None and measures["format"] not in rule.formats:
        yield f"format: {measures['format']}; must be {' or '.join(rule.formats)}"


def _of_ring(measures: Measures, recipe: Recipe, rule: Rule, layout: Layout) -> Iterator[str]:
    if measures["ring"] is None or recipe.shadow != "none":
        return
    is_exact = rule.background is not None
    most = 0 if is_exact or recipe.format == "png" else _LOSSY_TOLERANCE
    for margin, (side, difference) in zip(layout.margins, measures["ring"].items(), strict=True):
        # Without a marketplace's rule the recipe's own words may leave no room for a ring.
        if difference > most and (is_exact or margin >= RING + _JPEG_BLOCK):
            yield f"background: {difference} levels off within {RING} pixels of the {side}; at most {most}"


def _of_fill(measures: Measures, recipe: Recipe, rule: Rule, layout: Layout) -> Iterator[str]:
    if layout.wanted_fill is None:
        return
    fill = max(measures["fill"])
    slack = _ROUNDING_PIXELS / min(layout.canvas)
    least = layout.wanted_fill - _FILL_TOLERANCE - slack if rule.fill_min is None else rule.fill_min
    if fill < least:
        reason = (
            f"; the source has too few pixels for enlarge={recipe.enlarge:g}"
            if measures["is_limited"]
            else ""
        )
        yield f"fill: {fill:.3f}; at least {least:.3f}{reason}"
    if rule.fill_max is not None and fill > rule.fill_max + slack:
        yield f"fill: {fill:.3f}; at most {rule.fill_max:.3f}"


def _of_pixels(measures: Measures, recipe: Recipe, layout: Layout) -> Iterator[str]:
    stretch, used = measures["stretch"], measures["given_stretch"]
    if stretch > recipe.enlarge * _SCALE_TOLERANCE:
        yield f"enlarged: {stretch:.2f} times the source's pixels; at most {recipe.enlarge:g}"
    if layout.wanted_fill is None:
        if stretch * _SCALE_TOLERANCE < 1:
            yield f"detail: {stretch:.2f} of the source's width and height; must be 1"
    elif used > max(1.0, stretch) * _SCALE_TOLERANCE:
        yield f"detail: made of a cutout enlarged {used:.2f} times; the source has more pixels"
