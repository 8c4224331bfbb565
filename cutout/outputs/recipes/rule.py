"""Rule of a preset: the properties that a marketplace demands of a picture."""

from collections.abc import Iterator
from dataclasses import dataclass

from cutout.outputs.recipes.recipe import Colour, Recipe, background_text

ASPECT_TOLERANCE = 0.01  # share: 1801x2600 is Zalando's own size for 1:1.44
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule; None where nothing is demanded.

    `background` is the exact colour of the outer ring, `fill` the share of the canvas on the side that binds,
    `longer`, `shorter` and `sides_max` (width + height) pixels, `aspect` width / height; `whole` demands a
    subject that the photo does not crop.
    """

    background: Colour | None = None
    fill_min: float | None = None
    fill_max: float | None = None
    shorter_min: int | None = None
    longer_min: int | None = None
    longer_max: int | None = None
    sides_max: int | None = None
    pixels_max: int | None = None
    aspect: float | None = None
    bytes_max: int | None = None
    formats: tuple[str, ...] | None = None
    mode: str | None = None
    shadows: tuple[str, ...] | None = None
    whole: bool = False


def size_faults(rule: Rule, width: int, height: int) -> Iterator[str]:
    """Yield each demand on the size that width x height pixels do not meet, with value and limit."""
    size = f"{width}x{height} pixels"
    limits = (
        (min(width, height), rule.shorter_min, None, "the shorter side"),
        (max(width, height), rule.longer_min, rule.longer_max, "the longer side"),
        (width + height, None, rule.sides_max, "width and height together"),
        (width * height, None, rule.pixels_max, "pixels"),
    )
    for value, least, most, name in limits:
        if least is not None and value < least:
            yield f"{size}; {name}: {value}, at least {least}"
        if most is not None and value > most:
            yield f"{size}; {name}: {value}, at most {most}"
    if rule.aspect is not None and abs(width / height / rule.aspect - 1) > ASPECT_TOLERANCE:
        yield f"{size}; width / height: {width / height:.3f}, must be {rule.aspect:.3f}"


def conflicts(recipe: Recipe, rule: Rule) -> Iterator[str]:
    """Yield each word of a recipe with which no output could meet the rule, and what the rule takes."""
    if rule.formats is not None and recipe.format not in rule.formats:
        yield f"format={recipe.format}; it takes {', '.join(rule.formats)}"
    if rule.shadows is not None and recipe.shadow not in rule.shadows:
        yield f"shadow={recipe.shadow}; it takes {', '.join(rule.shadows)}"
    if rule.background is not None and recipe.background != rule.background:
        yield (
            f"background={background_text(recipe.background)}; it takes {background_text(rule.background)}"
        )
    elif rule.mode is not None and recipe.mode != rule.mode:
        yield f"pixels of mode {recipe.mode}; it takes {rule.mode}"
    if rule.bytes_max is not None and (recipe.max_bytes is None or recipe.max_bytes > rule.bytes_max):
        given = "none" if recipe.max_bytes is None else recipe.max_bytes
        yield f"max_bytes={given}; it takes at most {rule.bytes_max / _MILLION:g}MB"
    yield from _canvas_conflicts(recipe, rule)


def _canvas_conflicts(recipe: Recipe, rule: Rule) -> Iterator[str]:
    if isinstance(recipe.canvas, str):
        # Fill, ring and shape of such a canvas depend on the photo.
        if rule.fill_min is not None or rule.aspect is not None:
            yield f"canvas={recipe.canvas}; it takes WxH"
        return
    for fault in size_faults(rule, *recipe.canvas):
        yield f"canvas={recipe.canvas[0]}x{recipe.canvas[1]} ({fault})"
    most = most_fill(recipe)
    if rule.fill_min is not None and most < rule.fill_min:
        yield f"fill={most:g}; it takes at least {rule.fill_min:g}"
    if rule.fill_max is not None and not recipe.margin.value and recipe.fill > rule.fill_max:
        yield f"fill={recipe.fill:g}; it takes at most {rule.fill_max:g}"


def most_fill(recipe: Recipe) -> float:
    """Return the largest share of the canvas that the margin or fill leaves to the subject on one side."""
    if isinstance(recipe.canvas, str):
        return 1.0
    if not recipe.margin.value:
        return recipe.fill
    return max(1 - 2 * recipe.margin.pixels(side) / side for side in recipe.canvas)
