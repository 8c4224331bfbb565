"""Colour conversion to sRGB by the picture's own profile."""

import hashlib
import io
import threading
from itertools import product

from PIL import Image, ImageCms

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_UNUSABLE = (ImageCms.PyCMSError, OSError, ValueError, TypeError)
_SPACES = {"RGB": "RGB", "L": "GRAY", "I;16": "GRAY", "CMYK": "CMYK"}
_GREY = ("L", "I;16")

# Profiles of sRGB by other programs differ by rounding; a difference of 2 levels is invisible.
_INVISIBLE_LEVELS = 2
_STEPS = (0, 36, 73, 109, 146, 182, 219, 255)
_MOST_CACHED = 256
_cache: dict[bytes, bool] = {}
_cache_lock = threading.Lock()


def needs_profile(image: Image.Image) -> bool:
    """Whether an RGB or RGBA picture has a usable profile other than sRGB.

    The result is cached per profile: catalogs have few.
    """
    data = image.info.get("icc_profile")
    if not data:
        return False
    digest = hashlib.sha256(data).digest()
    differs = _cache.get(digest)
    if differs is None:
        differs = _differs_from_srgb(data)
        with _cache_lock:
            if len(_cache) >= _MOST_CACHED:
                _cache.clear()
            _cache[digest] = differs
    return differs


def to_srgb(image: Image.Image, data: bytes | None) -> Image.Image:
    """Convert a picture of mode L, LA, I;16, RGB, RGBA or CMYK to RGB or RGBA; `data` is its profile.

    A profile that is broken, or of another colour space than the picture, is ignored.
    """
    if image.mode in ("RGBA", "LA"):
        converted = to_srgb(image.convert(image.mode[:-1]), data)
        converted.putalpha(image.getchannel("A"))
        return converted
    profile = read_profile(data)
    if profile is not None:
        space = profile.profile.xcolor_space.strip()
        if image.mode in _GREY and space == "RGB":
            image = _eight_bits(image).convert("RGB")
        if _SPACES[image.mode] == space:
            in_srgb = _converted(image, profile)
            if in_srgb is not None:
                return in_srgb
    return _eight_bits(image).convert("RGB")


def read_profile(data: bytes | None) -> ImageCms.ImageCmsProfile | None:
    """The ICC profile; None if there is none, or it is broken."""
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(data)) if data else None
    except _UNUSABLE:
        return None


def from_srgb(image: Image.Image, data: bytes) -> Image.Image | None:
    """Convert an RGB picture of sRGB to a profile; None where the profile serves only as a source."""
    profile = read_profile(data)
    if profile is None:
        return None
    try:
        return ImageCms.profileToProfile(image, SRGB, profile, outputMode="RGB")
    except _UNUSABLE:
        return None


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.mode != "I;16":
        return image
    return image.convert("I").point(lambda level: level * (1 / 257) + 0.5).convert("L")


def _converted(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image | None:
    try:
        return ImageCms.profileToProfile(image, profile, SRGB, outputMode="RGB")
    except _UNUSABLE:
        return None


def _differs_from_srgb(data: bytes) -> bool:
    profile = read_profile(data)
    if profile is None or profile.profile.xcolor_space.strip() != "RGB":
        return False
    patches = bytes(level for colour in product(_STEPS, repeat=3) for level in colour)
    before = Image.frombytes("RGB", (len(_STEPS) ** 2, len(_STEPS)), patches)
    after = _converted(before, profile)
    return after is not None and any(
        abs(old - new) > _INVISIBLE_LEVELS for old, new in zip(patches, after.tobytes(), strict=True)
    )
