"""Rendering: an output made of a cutout by its recipe, and measured against its rule."""

from cutout.outputs.render.cut_sides import SIDES, find_cut_sides
from cutout.outputs.render.rendition import Rendered, render
from cutout.outputs.render.subject_scale import subject_scale

__all__ = ["SIDES", "Rendered", "find_cut_sides", "render", "subject_scale"]
