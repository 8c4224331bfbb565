"""Rendition: an output made of a cutout by its recipe."""

from collections.abc import Collection
from dataclasses import dataclass, field

from PIL import Image

from cutout.outputs.recipes.recipe import Recipe
from cutout.outputs.render.compose import compose, in_srgb, usable_profile
from cutout.outputs.render.cut_sides import SIDES
from cutout.outputs.render.encode import encode
from cutout.outputs.render.layer import layer_of
from cutout.outputs.render.layout import lay_out
from cutout.outputs.render.measure import Measures, measure
from cutout.outputs.render.problems import find_problems

_DECIMALS = 4
_OPAQUE = 255


@dataclass(frozen=True, slots=True)
class Rendered:
    """An output. `measures` are plain values for JSON; `problems` has each demand of the rule not met."""

    data: bytes = field(repr=False)
    media_type: str
    extension: str
    width: int
    height: int
    measures: Measures
    problems: tuple[str, ...]


def render(
    subject: Image.Image,
    recipe: Recipe,
    *,
    natural_scale: float,
    icc_profile: bytes | None = None,
    dpi: tuple[float, float] | None = None,
    cut_sides: Collection[str] | None = None,
) -> Rendered:
    """Make an output of a cutout (mode RGBA) at any scale, and measure its file.

    `natural_scale` is original pixels per pixel of `subject`; `icc_profile` and `dpi` are the source's;
    `cut_sides` are the sides of SIDES at which the photo crops the subject, found in its alpha by default.

    Raises OutputError if nothing is visible and the canvas is not the source, or the format cannot be so
    large. An output that its rule refuses is returned, with `problems`.
    """
    if subject.mode != "RGBA":
        raise ValueError(f"a subject of mode {subject.mode}; give RGBA")
    alpha = subject.getchannel("A")
    layout = lay_out(recipe, alpha, natural_scale=natural_scale, cut_sides=cut_sides)
    darkest, lightest = alpha.getextrema()
    layer = layer_of(subject, alpha, layout)
    del alpha

    kept = usable_profile(icc_profile) if recipe.profile == "keep" and not recipe.is_mask else None
    if recipe.profile == "srgb" and not recipe.is_mask:
        layer = in_srgb(layer, icc_profile)
    picture = compose(layer, recipe, layout, kept)
    drawn = layer.picture.getchannel("A")
    del layer
    resolution = dpi if recipe.dpi is None else (float(recipe.dpi), float(recipe.dpi))
    encoded = encode(picture, recipe, icc_profile=kept, dpi=resolution)
    del picture

    stretch = layout.scale / natural_scale
    measures = measure(encoded.data, recipe, layout, drawn) | {
        "quality": encoded.quality,
        "stretch": round(stretch, _DECIMALS),
        "given_stretch": round(layout.scale, _DECIMALS),
        "is_limited": layout.is_limited,
        "is_empty": lightest == 0,
        "is_opaque": darkest == _OPAQUE,
        "cut_sides": [side for side in SIDES if side in layout.cut_sides],
        "specks": layout.specks,
        "box_aspect": round(layout.size[0] / layout.size[1], _DECIMALS),
    }
    return Rendered(
        data=encoded.data,
        media_type=recipe.media_type,
        extension=recipe.extension,
        width=measures["width"],
        height=measures["height"],
        measures=measures,
        problems=tuple(find_problems(measures, recipe, layout)),
    )
