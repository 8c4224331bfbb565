"""Scale at which a rendition shows the source."""

from PIL import Image

from cutout.outputs.output_error import OutputError
from cutout.outputs.recipes.recipe import Recipe
from cutout.outputs.render.layout import lay_out


def subject_scale(recipe: Recipe, alpha: Image.Image, source_size: tuple[int, int]) -> float | None:
    """Return the side of the source's pixels that the output shows, as a share of its own side; at most 1.

    `alpha` (mode L) is that of the sent picture. Where the result is at most sent width / source width, the
    bought cutout has all the pixels needed; else a cutout of that share of the source's size has. None if
    nothing is visible and so no output can be made.
    """
    natural_scale = max(source_size[0] / alpha.width, source_size[1] / alpha.height)
    try:
        layout = lay_out(recipe, alpha, natural_scale=natural_scale, cut_sides=None)
    except OutputError:
        return None
    return 1.0 if layout.wanted_fill is None else min(1.0, layout.scale / natural_scale)
