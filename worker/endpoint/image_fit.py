"""Decoding a picture and encoding it anew inside the endpoint's limits."""

import io
import threading
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

from PIL import Image, ImageCms

from worker.endpoint.errors import UnfitImage
from worker.endpoint.image_check import UPRIGHT, Limits, orientation
from worker.endpoint.image_open import MIN_SIDE, unfit_on_error

_QUALITIES = (95, 90, 85, 75, 60)
_CRISP = 90  # from this quality on, colours are kept at full resolution
_SHRINKING = (1.0, 0.75, 0.5, 0.25)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))

# However many threads a process has, it works on two pictures at a time, and on one large one: 80 megapixels
# were measured to take 50 MB as JPEG, 400 as PNG, 700 with alpha, 1,200 as WEBP.
_WORKBENCHES = threading.BoundedSemaphore(2)
_LARGE_WORKBENCH = threading.Lock()
_LARGE_PIXELS = 20_000_000


@dataclass(frozen=True)
class Fitted:
    data: bytes
    format: Literal["JPEG", "PNG"]
    width: int
    height: int
    changes: tuple[str, ...]


def fit(image: Image.Image, limits: Limits, *, keep_alpha: bool) -> Fitted:
    """Encode a picture just opened as upright sRGB of 8 bits inside the limits, without metadata.

    Raises UnfitImage if it turns out damaged, or too narrow once its longer side fits.
    """
    large = image.width * image.height > _LARGE_PIXELS and image.format not in ("JPEG", "MPO")
    with _LARGE_WORKBENCH if large else nullcontext(), _WORKBENCHES, unfit_on_error():
        changes: list[str] = []
        image = _decoded(image, limits.max_side, changes)
        turn = orientation(image)
        image = _upright(_in_srgb(image, changes), turn, changes)
        if image.mode == "RGBA" and keep_alpha:
            data = _png(image)
            if len(data) <= limits.max_bytes:
                return Fitted(data, "PNG", *image.size, (*changes, "encoded as PNG"))
        return _as_jpeg(_opaque(image, changes), limits.max_bytes, changes)


def _decoded(image: Image.Image, max_side: int, changes: list[str]) -> Image.Image:
    before = image.size
    ratio = min(1.0, max_side / max(before))
    size = (max(1, round(before[0] * ratio)), max(1, round(before[1] * ratio)))
    if min(size) < MIN_SIDE:
        raise UnfitImage(
            "IMAGE_TOO_SMALL",
            f"{before[0]}x{before[1]} pixels become {size[0]}x{size[1]} once the longer side fits; crop it",
        )
    image.draft(None, size)  # lets JPEG decode at an eighth, a quarter or half of its size
    image.load()
    image = _resizable(image)
    if image.size != size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    if before != size:
        changes.append(f"shrunk from {before[0]}x{before[1]} to {size[0]}x{size[1]}")
    return image


def _resizable(image: Image.Image) -> Image.Image:
    """Give a mode that can be resized and of which all conversions are known."""
    mode = image.mode
    if mode.startswith("I;16"):
        return image
    if "transparency" in image.info or mode in ("PA", "LA", "La", "RGBa"):
        return image.convert("RGBA")
    if mode in ("1", "P", "RGBX", "YCbCr"):
        return image.convert("RGB")
    if mode in ("L", "RGB", "RGBA", "CMYK"):
        return image
    raise UnfitImage("IMAGE_FORMAT_UNSUPPORTED", f"colours of the kind {mode}; save it as 8-bit RGB")


def _in_srgb(image: Image.Image, changes: list[str]) -> Image.Image:
    """Convert through the picture's own profile if it has a usable one, and drop all metadata."""
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I;16"):
        changes.append("16 to 8 bits a channel")
        image = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    target = "RGBA" if image.mode == "RGBA" else "RGB"
    if image.mode != target:
        changes.append(f"{'grey' if image.mode == 'L' else image.mode} to {target}")
    try:
        converted = _through(profile, image, target) if profile else None
    except (ImageCms.PyCMSError, OSError, ValueError):
        converted = None  # broken, or a profile of other colours than the picture's
    if converted is None:
        converted = image.convert(target)
    converted.info.clear()
    if target == "RGBA" and converted.getchannel("A").getextrema() == (255, 255):
        return converted.convert("RGB")
    return converted


def _through(profile: bytes, image: Image.Image, target: str) -> Image.Image | None:
    return ImageCms.profileToProfile(image, io.BytesIO(profile), _SRGB, outputMode=target)


def _upright(image: Image.Image, turn: int, changes: list[str]) -> Image.Image:
    if turn == UPRIGHT:
        return image
    changes.append(f"turned upright (EXIF orientation {turn})")
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
    for scale in _SHRINKING:
        size = (max(MIN_SIDE, round(image.width * scale)), max(MIN_SIDE, round(image.height * scale)))
        scaled = image if scale == 1 else image.resize(size, Image.Resampling.LANCZOS)
        for quality in _QUALITIES:
            buffer = io.BytesIO()
            scaled.save(buffer, "JPEG", quality=quality, subsampling=0 if quality >= _CRISP else 2)
            if buffer.tell() <= max_bytes:
                told = (*changes, f"encoded as JPEG of {size[0]}x{size[1]}, quality {quality}")
                return Fitted(buffer.getvalue(), "JPEG", *size, told)
    raise UnfitImage("IMAGE_TOO_LARGE", f"cannot be brought under {max_bytes} bytes; send a simpler picture")
