"""Blocks of views, rendered once for each view and kind of viewer."""

import hashlib
from collections.abc import Mapping
from typing import Any

from console.faults import not_found
from console.parts import Part
from console.templates import Templates
from console.views import ScreenRequest, View

TAG_BYTES = 12


def part_of(templates: Templates, view: View, wanted: ScreenRequest, name: str) -> Part:
    """The block of the view, which is kept with it. Raises PageError, 404, without such a block."""
    if name not in view.parts:
        text = templates.block(view.template, name, values_of(view, wanted.frame))
        if text is None:
            raise not_found("such part of this page")
        tag = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=TAG_BYTES).hexdigest()
        view.parts[name] = Part(name, text, f'W/"{tag}"', read_at_of(view))
    return view.parts[name]


def values_of(view: View, frame: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the view's template in the frame."""
    return {**frame, **view.values, "title": view.title, "read_at": view.read_at}


def read_at_of(view: View) -> str:
    """When the view was read; such texts are in the order of their times."""
    return view.read_at.isoformat(timespec="milliseconds")
