"""Outputs that are asked for: a name and a recipe in one text."""

import re
from collections.abc import Iterable

from cutout.outputs.recipes.parse import parse_recipe, shown
from cutout.outputs.recipes.presets import PRESETS
from cutout.outputs.recipes.recipe import Recipe
from cutout.outputs.recipes.recipe_error import RecipeError

MOST_OUTPUTS = 20
RESERVED_NAMES = frozenset({"score", "bought", "source", "form", "output", "all", "none"})
_NAME = re.compile(r"[a-z0-9-]{1,40}")
_PRESETS_IN_LOWER_CASE = {name.lower(): name for name in PRESETS}


def parse_output(text: str) -> tuple[str, Recipe]:
    """Parse `[name:] recipe` into name and recipe.

    A recipe that begins with a preset needs no name: `amazon quality=85` is named amazon. One without a
    preset has a name before a colon: `hero: canvas=1200x1200 background=#eee`. Raises RecipeError.
    """
    first = text.split(maxsplit=1)[0] if text.strip() else ""
    before, colon, after = text.partition(":")
    if not colon:
        recipe = parse_recipe(text)
        if recipe.preset is None:
            raise RecipeError(f"{shown(text)!r} has no name; put one before it, such as hero: {shown(first)}")
        return recipe.preset, recipe
    name = before.strip()
    _check_name(name)
    recipe = parse_recipe(after)
    namesake = _PRESETS_IN_LOWER_CASE.get(name)
    if namesake is not None and recipe.preset != namesake:
        raise RecipeError(f"the name {name} is that of the preset {namesake}; choose another name")
    return namesake or name, recipe


def parse_outputs(texts: Iterable[str]) -> dict[str, Recipe]:
    """Parse several outputs into recipes by name. Raises RecipeError for a name given twice."""
    outputs: dict[str, Recipe] = {}
    for text in texts:
        name, recipe = parse_output(text)
        if outputs.setdefault(name, recipe) != recipe:
            raise RecipeError(f"two recipes with the name {name}; name one of them {name}-2: ...")
        if len(outputs) > MOST_OUTPUTS:
            raise RecipeError(f"more than {MOST_OUTPUTS} outputs; ask for fewer")
    return outputs


def _check_name(name: str) -> None:
    if _NAME.fullmatch(name) is None:
        raise RecipeError(f"the name {shown(name)!r} of an output; it takes 1 to 40 of a-z, 0-9 and -")
    if name in RESERVED_NAMES:
        raise RecipeError(f"the name {name} is reserved, as are {', '.join(sorted(RESERVED_NAMES - {name}))}")
