"""Recipes: the words that describe an output, presets with the rules of marketplaces, and names of files."""

from cutout.outputs.recipes.name_template import NameTemplate, parse_name_template
from cutout.outputs.recipes.output import RESERVED_NAMES, parse_output, parse_outputs
from cutout.outputs.recipes.parse import parse_recipe
from cutout.outputs.recipes.presets import PRESETS, Preset
from cutout.outputs.recipes.recipe import RECIPE_VERSION, Canvas, Colour, Margin, Recipe
from cutout.outputs.recipes.recipe_error import RecipeError
from cutout.outputs.recipes.rule import Rule

__all__ = [
    "PRESETS",
    "RECIPE_VERSION",
    "RESERVED_NAMES",
    "Canvas",
    "Colour",
    "Margin",
    "NameTemplate",
    "Preset",
    "Recipe",
    "RecipeError",
    "Rule",
    "parse_name_template",
    "parse_output",
    "parse_outputs",
    "parse_recipe",
]
