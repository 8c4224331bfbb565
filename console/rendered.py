"""Blocks of views, rendered once for each view and kind of viewer."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from console.faults import not_found
from console.parts import Part
from console.templates import Templates
from console.views import ScreenRequest, View

TAG_BYTES = 12
# The blocks that stand by themselves; others need the values of the whole page.
LIVE_BLOCKS = frozenset({"live"})


def part_of(templates: Templates, view: View, wanted: ScreenRequest, name: str) -> Part:
    """The block of the view, which is kept with it. Raises PageError, 404, without such a block."""
    if name not in LIVE_BLOCKS:
        raise not_found("such part of this page")
    if name not in view.parts:
        text = templates.block(view.template, name, values_of(view, wanted.frame))
        if text is None:
            raise not_found("such part of this page")
        tag = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=TAG_BYTES).hexdigest()
        times = _written(view.read_at), _written(view.as_of or view.read_at)
        view.parts[name] = Part(name, text, f'W/"{tag}"', *times)
    return view.parts[name]


def values_of(view: View, frame: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the view's template in the frame."""
    return {**frame, **view.values, "title": view.title, "read_at": view.as_of or view.read_at}


def _written(moment: datetime) -> str:
    """The text of a time; such texts are in the order of their times."""
    return moment.isoformat(timespec="milliseconds")
