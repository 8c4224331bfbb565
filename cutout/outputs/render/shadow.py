"""Shadows below a subject: a narrow one where it stands, or a soft one of all of it."""

from PIL import Image, ImageFilter

_REDUCTION = 4  # shadows are blurred, so a quarter of the size has all there is to see
_CONTACT_OPACITY, _SOFT_OPACITY = 0.45, 0.30
_BASE_SHARE = 0.06  # of the subject's height, from below: the part that stands on the ground
_FLATTENING = 0.035  # of the subject's width: the height of the contact shadow
_SOFT_DROP, _SOFT_BLUR = 0.02, 0.025  # of the subject's longer side
_BLACK = (0, 0, 0)


def draw_shadow(canvas: Image.Image, alpha: Image.Image, kind: str, place: tuple[int, int]) -> Image.Image:
    """Return the canvas with the shadow of a subject of that alpha at a place, `contact` or `soft`."""
    small = (-(-canvas.width // _REDUCTION), -(-canvas.height // _REDUCTION))
    size = (max(1, alpha.width // _REDUCTION), max(1, alpha.height // _REDUCTION))
    at = (place[0] // _REDUCTION, place[1] // _REDUCTION)
    reduced = alpha.resize(size, Image.Resampling.BOX)
    draw = _contact if kind == "contact" else _soft
    shadow = draw(Image.new("L", small), reduced, at).resize(
        (small[0] * _REDUCTION, small[1] * _REDUCTION), Image.Resampling.BICUBIC
    )
    shadow = shadow.crop((0, 0, *canvas.size))
    if canvas.mode == "RGBA":
        black = Image.new("RGBA", canvas.size, (*_BLACK, 0))
        black.putalpha(shadow)
        return Image.alpha_composite(canvas, black)
    canvas.paste(_BLACK, (0, 0), shadow)
    return canvas


def _contact(canvas: Image.Image, alpha: Image.Image, at: tuple[int, int]) -> Image.Image:
    """Draw the lowest part of the subject flattened and blurred, half of it below the subject."""
    base = alpha.crop((0, alpha.height - max(1, round(alpha.height * _BASE_SHARE)), *alpha.size))
    height = max(2, round(alpha.width * _FLATTENING))
    flat = base.resize((alpha.width, height), Image.Resampling.BOX)
    flat = flat.point([min(255, level * 2) for level in range(256)])
    canvas.paste(flat, (at[0], at[1] + alpha.height - height // 2))
    blurred = canvas.filter(ImageFilter.GaussianBlur(max(1.0, height / 2.5)))
    return _faded(blurred, _CONTACT_OPACITY)


def _soft(canvas: Image.Image, alpha: Image.Image, at: tuple[int, int]) -> Image.Image:
    """Draw the whole subject blurred, and moved down a little."""
    longer = max(alpha.size)
    canvas.paste(alpha, (at[0], at[1] + max(1, round(longer * _SOFT_DROP))))
    return _faded(canvas.filter(ImageFilter.GaussianBlur(max(1.0, longer * _SOFT_BLUR))), _SOFT_OPACITY)


def _faded(shadow: Image.Image, opacity: float) -> Image.Image:
    return shadow.point([round(level * opacity) for level in range(256)])
