"""Layer of the subject: its pixels at the size and place that they have on the canvas."""

import math
from dataclasses import dataclass

from PIL import Image

from cutout.outputs.render.layout import Layout
from cutout.outputs.render.subject_box import VISIBLE, Box

_REDUCING_GAP = 3.0  # shrinks by whole pixels first, to three times the size: not to be told apart
_FADE_SHARE = 0.03  # of the canvas: room in which faint pixels around the box fade out
_RIM = 3  # pixels from the box: a soft edge ends before
_LEAST_PIXELS, _LEAST_SHARE = 3, 0.01
_CLEAR = 16  # pixels at the canvas's edge that nothing faint enters: the ring, and a block of JPEG


@dataclass(frozen=True, slots=True)
class Layer:
    """RGBA pixels, their place on the canvas, and the subject's box in them."""

    picture: Image.Image
    at: tuple[int, int]
    inner: Box

    @property
    def subject_alpha(self) -> Image.Image:
        return self.picture.getchannel("A").crop(self.inner)


def layer_of(subject: Image.Image, alpha: Image.Image, layout: Layout) -> Layer:
    """Return the layout's box of the subject without metadata; `alpha` is its alpha channel.

    On a side where faint pixels (alpha < 13) continue outside the box, they are kept, so that a soft shadow
    does not end in a line. Specks there are dropped.
    """
    if layout.wanted_fill is None:
        whole = (0, 0, *subject.size)
        picture = _bare(subject if layout.box == whole else subject.crop(layout.box))
        return Layer(picture, layout.at, (0, 0, *picture.size))
    left, top, right, bottom = _fades(alpha, layout)
    width, height = layout.size
    scales = _scales(layout)
    box = (
        layout.box[0] - left / scales[0],
        layout.box[1] - top / scales[1],
        layout.box[2] + right / scales[0],
        layout.box[3] + bottom / scales[1],
    )
    picture = _bare(_scaled(subject, box, (left + width + right, top + height + bottom)))
    inner = (left, top, left + width, top + height)
    if inner != (0, 0, *picture.size):
        _drop_specks(picture, inner)
    return Layer(picture, (layout.at[0] - left, layout.at[1] - top), inner)


def _scales(layout: Layout) -> tuple[float, float]:
    left, top, right, bottom = layout.box
    return layout.size[0] / (right - left), layout.size[1] / (bottom - top)


def _fades(alpha: Image.Image, layout: Layout) -> Box:
    """Return how many pixels of the canvas around the box show faint pixels: left, top, right, bottom."""
    left, top, right, bottom = layout.box
    faint = (
        _has_faint(alpha, (left - _RIM, top, left - _RIM + 1, bottom)),
        _has_faint(alpha, (left, top - _RIM, right, top - _RIM + 1)),
        _has_faint(alpha, (right + _RIM - 1, top, right + _RIM, bottom)),
        _has_faint(alpha, (left, bottom + _RIM - 1, right, bottom + _RIM)),
    )
    most = int(_FADE_SHARE * max(layout.canvas))
    fades = [0, 0, 0, 0]
    for axis, scale in enumerate(_scales(layout)):
        start, end = layout.at[axis], layout.at[axis] + layout.size[axis]
        before = min(int(layout.box[axis] * scale), start - _CLEAR, most)
        room = int((alpha.size[axis] - layout.box[axis + 2]) * scale)
        after = min(room, layout.canvas[axis] - end - _CLEAR, most)
        fades[axis], fades[axis + 2] = max(0, before), max(0, after)
    left, top, right, bottom = (fade if is_faint else 0 for fade, is_faint in zip(fades, faint, strict=True))
    return left, top, right, bottom


def _has_faint(alpha: Image.Image, line: Box) -> bool:
    """Whether at least 1 % of a line of pixels is not wholly transparent; outside the picture all are."""
    counts = alpha.crop(line).histogram()
    return sum(counts[1:]) >= max(_LEAST_PIXELS, _LEAST_SHARE * sum(counts))


def _scaled(
    subject: Image.Image, box: tuple[float, float, float, float], size: tuple[int, int]
) -> Image.Image:
    """Return a box of the subject, which may have fractions, at a size."""
    outer = (math.floor(box[0]), math.floor(box[1]), math.ceil(box[2]), math.ceil(box[3]))
    part = subject.crop(outer)
    if part.size == size:
        return part
    within = (box[0] - outer[0], box[1] - outer[1], box[2] - outer[0], box[3] - outer[1])
    part = part.convert("RGBa")
    part = part.resize(size, Image.Resampling.LANCZOS, within, _REDUCING_GAP)
    return part.convert("RGBA")


def _drop_specks(picture: Image.Image, inner: Box) -> None:
    """Make what is visible outside the subject's box transparent."""
    alpha = picture.getchannel("A")
    faint = alpha.point([level if level < VISIBLE else 0 for level in range(256)])
    faint.paste(alpha.crop(inner), inner)
    picture.putalpha(faint)


def _bare(picture: Image.Image) -> Image.Image:
    """Return a picture without metadata; the one given keeps its own."""
    if picture.info:
        picture = picture.copy()
        picture.info = {}
    return picture
