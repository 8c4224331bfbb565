"""Parser of recipes: `[preset] (key=value)*`, later words win."""

from dataclasses import replace
from typing import Any

from cutout.outputs.recipes.keys import KEYS
from cutout.outputs.recipes.presets import PRESETS
from cutout.outputs.recipes.recipe import NO_ALPHA, NO_DPI, NO_QUALITY, Recipe
from cutout.outputs.recipes.recipe_error import RecipeError
from cutout.outputs.recipes.rule import conflicts
from cutout.text import visible

LONGEST_TEXT = 500
_SHOWN = 60


def parse_recipe(text: str, *, check_rule: bool = True) -> Recipe:
    """Parse a recipe.

    Raises RecipeError for an unknown word, a value out of range, words that contradict one another, and, with
    `check_rule`, words with which no output could meet the preset's rule. A stored recipe is parsed without
    that check: the rule may have changed since, and its output is measured anyway.
    """
    preset, words = _split(text)
    given = {key: _value(key, value) for key, value in words.items()}
    recipe = _complete(preset, given)
    _check_words(recipe)
    normal = _without_unused(recipe, given)
    if check_rule and preset is not None:
        _check_rule(normal, preset)
    return normal


def shown(text: str) -> str:
    """Return the start of a text, safe for a terminal."""
    return visible(text[:_SHOWN]) + ("..." if len(text) > _SHOWN else "")


def _split(text: str) -> tuple[str | None, dict[str, str]]:
    """Split a recipe into its preset and its words by key; the last word of a key wins."""
    if len(text) > LONGEST_TEXT:
        raise RecipeError(f"a recipe of {len(text)} characters; at most {LONGEST_TEXT}")
    words = text.split()
    if not words:
        raise RecipeError(f"an empty recipe; give a preset ({_preset_names()}) or words such as fill=0.9")
    preset = None if "=" in words[0] else words.pop(0)
    if preset is not None and preset not in PRESETS:
        raise RecipeError(f"unknown preset {shown(preset)!r}; known are {_preset_names()}")
    pairs: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise RecipeError(f"{shown(word)!r} is no key=value; only the first word may be a preset")
        if key not in KEYS:
            raise RecipeError(f"unknown key {shown(key)!r}; known are {', '.join(KEYS)}")
        pairs[key] = value
    return preset, pairs


def _preset_names() -> str:
    return ", ".join(PRESETS)


def _value(key: str, text: str) -> Any:
    try:
        return KEYS[key].parse(text)
    except ValueError:
        raise RecipeError(f"{key}={shown(text)} is not allowed; {key} takes {KEYS[key].values}") from None


def _complete(preset: str | None, given: dict[str, Any]) -> Recipe:
    """Add the preset's values and the defaults."""
    values = {key: row.default for key, row in KEYS.items()}
    if preset is not None:
        values |= dict(word.split("=") for word in PRESETS[preset].words.split())
    return Recipe(preset=preset, **({key: _value(key, text) for key, text in values.items()} | given))


def _check_words(recipe: Recipe) -> None:
    if recipe.background is None and recipe.format in NO_ALPHA and not recipe.is_mask:
        raise RecipeError(
            f"background=transparent with format={recipe.format}, which has no alpha; "
            "give format=png, webp or avif, or a background such as #fff"
        )
    if not isinstance(recipe.canvas, str) and recipe.margin.unit == "px":
        least = min(recipe.canvas)
        if 2 * recipe.margin.value >= least:
            raise RecipeError(
                f"margin={recipe.margin.value:g}px leaves nothing of a canvas side of {least} pixels; "
                f"give less than {least // 2}px"
            )


def _without_unused(recipe: Recipe, given: dict[str, Any]) -> Recipe:
    """Give keys that have no effect one value, so that equal outputs have equal recipes.

    Raises RecipeError if one of them was given another value.
    """
    for key, (text, reason) in _unused(recipe).items():
        value = KEYS[key].parse(text)
        if key in given and given[key] != value:
            raise RecipeError(f"{key} has no effect with {reason}; leave it out")
        recipe = replace(recipe, **{key: value})
    if recipe.margin.value:
        recipe = replace(recipe, fill=1.0)
    return recipe


def _unused(recipe: Recipe) -> dict[str, tuple[str, str]]:
    """Return the keys that have no effect, each with its normal value and the reason."""
    unused: dict[str, tuple[str, str]] = {}
    if isinstance(recipe.canvas, str):
        reason = f"canvas={recipe.canvas}"
        unused |= {"fill": ("1", reason), "align": ("center", reason)}
        unused |= {"cut": ("snap", reason), "enlarge": ("1", reason)}
        if recipe.canvas == "source":
            unused["margin"] = ("0", reason)
    if recipe.format in NO_QUALITY:
        unused["quality"] = (KEYS["quality"].default, f"format={recipe.format}")
    if recipe.format in NO_DPI:
        unused["dpi"] = (KEYS["dpi"].default, f"format={recipe.format}")
    if recipe.is_mask:
        unused |= {"background": ("transparent", "mask"), "shadow": ("none", "mask")}
    return unused


def _check_rule(recipe: Recipe, name: str) -> None:
    preset = PRESETS[name]
    for fault in conflicts(recipe, preset.rule):
        raise RecipeError(
            f"{name} refuses {fault} (rule of {preset.as_of}); "
            f"for a picture of your own, begin without {name}"
        )
