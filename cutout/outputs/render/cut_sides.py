"""Sides on which the photo crops its subject."""

from PIL import Image

from cutout.outputs.render.subject_box import Box

SIDES = ("left", "top", "right", "bottom")
_SOLID = 128
_LEAST_SHARE = 0.01  # of the box: a hair that leaves the photo is no cropped subject
_LEAST_PIXELS = 3


def find_cut_sides(alpha: Image.Image, box: Box | None = None) -> frozenset[str]:
    """Return the sides of SIDES that the box touches with alpha >= 128 along 1 % of its own side.

    `box` is that of every pixel that is not wholly transparent by default.
    """
    width, height = alpha.size
    box = box or alpha.getbbox()
    if box is None:
        return frozenset()
    touched = (box[0] == 0, box[1] == 0, box[2] == width, box[3] == height)
    lines = {
        "left": (0, box[1], 1, box[3]),
        "top": (box[0], 0, box[2], 1),
        "right": (width - 1, box[1], width, box[3]),
        "bottom": (box[0], height - 1, box[2], height),
    }
    return frozenset(
        side
        for (side, line), is_touched in zip(lines.items(), touched, strict=True)
        if is_touched and _is_cut(alpha.crop(line))
    )


def _is_cut(line: Image.Image) -> bool:
    solid = sum(line.histogram()[_SOLID:])
    return solid >= max(_LEAST_PIXELS, _LEAST_SHARE * max(line.size))
