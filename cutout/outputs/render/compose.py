"""Composition of an output: background, shadow and subject."""

from dataclasses import replace

from PIL import Image

from cutout.images.colours import from_srgb, needs_profile, read_profile, to_srgb
from cutout.outputs.recipes.recipe import Colour, Recipe
from cutout.outputs.render.layer import Layer
from cutout.outputs.render.layout import Layout
from cutout.outputs.render.shadow import draw_shadow

_STRIPE = 1024  # rows: a copy of all of a large picture would be too much


def usable_profile(data: bytes | None) -> bytes | None:
    """Return an ICC profile if it is one of RGB pixels."""
    profile = read_profile(data)
    return data if profile is not None and profile.profile.xcolor_space.strip() == "RGB" else None


def in_srgb(layer: Layer, profile: bytes | None) -> Layer:
    """Convert the pixels of a layer with a profile to sRGB."""
    if profile is None:
        return layer
    picture = layer.picture
    picture.info = {"icc_profile": profile}
    differs = needs_profile(picture)
    picture.info = {}
    return replace(layer, picture=to_srgb(picture, profile)) if differs else layer


def compose(layer: Layer, recipe: Recipe, layout: Layout, profile: bytes | None) -> Image.Image:
    """Return the output's picture: the layer on its background, in the recipe's mode.

    `profile` is the profile that the output is to have, None for sRGB.
    """
    if recipe.is_mask:
        return _on_canvas(layer.picture.getchannel("A"), Image.new("L", layout.canvas), layer.at)
    if recipe.background is None:
        canvas = Image.new("RGBA", layout.canvas)
        if recipe.shadow == "none":
            return _on_canvas(layer.picture, canvas, layer.at)
        canvas = draw_shadow(canvas, layer.subject_alpha, recipe.shadow, layout.at)
        canvas.alpha_composite(layer.picture, layer.at)
        return canvas
    colour = recipe.background if profile is None else _in_profile(recipe.background, profile)
    canvas = Image.new("RGB", layout.canvas, colour)
    if recipe.shadow != "none":
        canvas = draw_shadow(canvas, layer.subject_alpha, recipe.shadow, layout.at)
    width, height = layer.picture.size
    for top in range(0, height, _STRIPE):
        stripe = layer.picture.crop((0, top, width, min(height, top + _STRIPE)))
        at = (layer.at[0], layer.at[1] + top)
        canvas.paste(stripe.convert("RGB"), at, stripe.getchannel("A"))
    return canvas


def _on_canvas(picture: Image.Image, canvas: Image.Image, at: tuple[int, int]) -> Image.Image:
    if picture.size == canvas.size:
        return picture
    canvas.paste(picture, at)
    return canvas


def _in_profile(colour: Colour, profile: bytes) -> Colour:
    """Convert a colour of sRGB to a profile; white is white in each."""
    if colour == (255, 255, 255):
        return colour
    pixel = Image.new("RGB", (1, 1), colour)
    red, green, blue = (from_srgb(pixel, profile) or pixel).tobytes()
    return red, green, blue
