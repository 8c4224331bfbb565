"""Fitting: a picture is decoded and encoded again inside the endpoint's limits."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

from PIL import Image

from cutout.images.check import Limits, transparent_error
from cutout.images.colours import to_srgb
from cutout.images.decode import MIN_SIDE, OpenedImage, unfit_on_error
from cutout.images.jpeg import check_pixels, check_scans
from cutout.images.orientation import UPRIGHT
from cutout.images.unfit_image import UnfitImage

_QUALITIES = (95, 90, 85, 75, 60)
_FULL_COLOUR_QUALITY = 90  # from this quality on, colours are kept at full resolution
_SCALES = (1.0, 0.75, 0.5, 0.25)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_WITH_ALPHA = ("LA", "RGBA")
_FULL_RANGE = 65535

# A process works on two pictures at a time whatever its number of threads, and on one large one: 80
# megapixels took 50 MB as JPEG, 400 as PNG, 700 with alpha, 1,200 as WEBP.
_TWO_PICTURES = threading.BoundedSemaphore(2)
_ONE_LARGE_PICTURE = threading.Lock()
_LARGE_PIXELS = 20_000_000


@dataclass(frozen=True)
class Fitted:
    data: bytes
    format: Literal["JPEG", "PNG"]
    width: int
    height: int
    changes: tuple[str, ...]


def fit(opened: OpenedImage, limits: Limits, *, keep_alpha: bool) -> Fitted:
    """Encode an opened picture as upright 8-bit sRGB inside the limits, without metadata.

    Raises UnfitImage if it is damaged or wholly transparent, or too narrow once its longer side fits.
    """
    image = opened.image
    with _memory_bound(image), unfit_on_error():
        changes = list(opened.notes)
        profile = image.info.get("icc_profile")
        image = _decoded(opened, limits.max_side, changes)
        image = _upright(_in_srgb(image, profile, changes), opened.turn, changes)
        if image.mode == "RGBA" and keep_alpha:
            data = _png(image)
            if len(data) <= limits.max_bytes:
                return Fitted(data, "PNG", *image.size, (*changes, "encoded as PNG"))
        return _as_jpeg(_opaque(image, changes), limits.max_bytes, changes)


def full_size(opened: OpenedImage) -> Image.Image:
    """Decode an opened picture upright at its own size, as 8-bit RGB.

    RGB keeps its pixels and its profile (`info["icc_profile"]`, `info["dpi"]`); other colours become sRGB.
    Raises UnfitImage.
    """
    image = opened.image
    with _memory_bound(image), unfit_on_error():
        kept: dict[str, Any] = {
            name: image.info[name] for name in ("icc_profile", "dpi") if name in image.info
        }
        image.load()
        image = _resizable(_in_range(image, opened))
        if image.mode in ("RGB", "RGBA"):
            image = image.convert("RGB")
        else:
            image = to_srgb(image, kept.pop("icc_profile", None)).convert("RGB")
        image = _upright(image, opened.turn, [])
        image.info.clear()
        image.info.update(kept)
        return image


@contextmanager
def _memory_bound(image: Image.Image) -> Iterator[None]:
    large = image.width * image.height > _LARGE_PIXELS and image.format not in ("JPEG", "MPO")
    with _ONE_LARGE_PICTURE if large else nullcontext(), _TWO_PICTURES:
        yield


def _decoded(opened: OpenedImage, max_side: int, changes: list[str]) -> Image.Image:
    image, before = opened.image, opened.image.size
    ratio = min(1.0, max_side / max(before))
    size = (max(1, round(before[0] * ratio)), max(1, round(before[1] * ratio)))
    if min(size) < MIN_SIDE:
        raise UnfitImage(
            "IMAGE_TOO_SMALL",
            f"{before[0]}x{before[1]} pixels become {size[0]}x{size[1]} once the longer side fits; crop it",
        )
    jpeg = check_scans(opened.source) if image.format in ("JPEG", "MPO") else None
    box = _load(image, size)
    if jpeg is not None:
        check_pixels(jpeg, image, opened.source)
    image = _resizable(_in_range(image, opened))
    if image.size != size or box != (0, 0, *size):
        image = image.resize(size, Image.Resampling.LANCZOS, box)
    if image.mode in _WITH_ALPHA and image.getchannel("A").getextrema() == (0, 0):
        raise transparent_error()
    if before != size:
        changes.append(f"shrunk from {before[0]}x{before[1]} to {size[0]}x{size[1]}")
    return image


def _load(image: Image.Image, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Decode, a JPEG at 1/8, 1/4, 1/2 or full scale; return the box that the picture takes up.

    A scaled JPEG may end with part of a pixel, so the box has fractions.
    """
    drafted = image.draft(None, size) if image.format in ("JPEG", "MPO") else None
    image.load()
    return drafted[1] if drafted else (0, 0, *image.size)


def _in_range(image: Image.Image, opened: OpenedImage) -> Image.Image:
    """Scale a grey picture of more than 8 bits to the range of 16 bits, with black at 0."""
    if not image.mode.startswith("I;16"):
        return image
    if image.mode != "I;16":
        image = image.convert("I").convert("I;16")
    scale = _FULL_RANGE / opened.levels
    if opened.is_white_zero:
        return image.point(lambda level: level * -scale + _FULL_RANGE)
    return image if scale == 1 else image.point(lambda level: level * scale + 0.5)


def _resizable(image: Image.Image) -> Image.Image:
    """Convert to a mode that can be resized and has known conversions."""
    mode = image.mode
    if mode == "I;16":
        return image
    if mode in ("La", "LA") or ("transparency" in image.info and mode in ("1", "L")):
        return image.convert("LA")
    if "transparency" in image.info or mode in ("PA", "RGBa"):
        return image.convert("RGBA")
    if mode == "1":
        return image.convert("L")
    if mode in ("P", "RGBX", "YCbCr"):
        return image.convert("RGB")
    if mode in ("L", "RGB", "RGBA", "CMYK"):
        return image
    raise UnfitImage("IMAGE_FORMAT_UNSUPPORTED", f"colours of the kind {mode}; save it as 8-bit RGB")


def _in_srgb(image: Image.Image, profile: bytes | None, changes: list[str]) -> Image.Image:
    """Convert by the picture's profile if it is usable, and drop all metadata."""
    if image.mode == "I;16":
        changes.append("16 to 8 bits a channel")
    target = "RGBA" if image.mode in _WITH_ALPHA else "RGB"
    if image.mode != target:
        changes.append(f"{'grey' if image.mode in ('L', 'LA', 'I;16') else image.mode} to {target}")
    converted = to_srgb(image, profile)
    converted.info.clear()
    if target == "RGBA" and converted.getchannel("A").getextrema() == (255, 255):
        return converted.convert("RGB")
    return converted


def _upright(image: Image.Image, turn: int, changes: list[str]) -> Image.Image:
    if turn == UPRIGHT:
        return image
    changes.append(f"turned upright (orientation {turn})")
    return image.transpose(_TURNS[turn])


def _opaque(image: Image.Image, changes: list[str]) -> Image.Image:
    if image.mode == "RGB":
        return image
    changes.append("laid on white")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.getchannel("A"))
    return white


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _as_jpeg(image: Image.Image, max_bytes: int, changes: list[str]) -> Fitted:
    for scale in _SCALES:
        size = (max(MIN_SIDE, round(image.width * scale)), max(MIN_SIDE, round(image.height * scale)))
        scaled = image if scale == 1 else image.resize(size, Image.Resampling.LANCZOS)
        for quality in _QUALITIES:
            buffer = io.BytesIO()
            subsampling = 0 if quality >= _FULL_COLOUR_QUALITY else 2
            scaled.save(buffer, "JPEG", quality=quality, subsampling=subsampling)
            if buffer.tell() <= max_bytes:
                all_changes = (*changes, f"encoded as JPEG of {size[0]}x{size[1]}, quality {quality}")
                return Fitted(buffer.getvalue(), "JPEG", *size, all_changes)
    raise UnfitImage("IMAGE_TOO_LARGE", f"cannot be brought under {max_bytes} bytes; send a simpler picture")
