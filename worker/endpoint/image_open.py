"""Opening a picture from a stranger: its header is read, nothing is decoded."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, UnidentifiedImageError

from worker.endpoint.errors import UnfitImage

MIN_SIDE = 33  # pixels; sibling endpoints want more than 32x32
MAX_PIXELS = 80_000_000  # some 320 MB decoded
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")  # a JPEG with a second view opens as "MPO"

# Pillow's own ceiling warns at one size and raises at another; MAX_PIXELS is lower than both.
Image.MAX_IMAGE_PIXELS = None

_REMEDY = "send a JPEG, PNG, BMP, WEBP, GIF or TIFF"
_OTHERS = {
    "HEIC or AVIF": (4, (b"ftyphei", b"ftyphev", b"ftypmif", b"ftypmsf", b"ftypavi")),
    "JPEG 2000": (4, (b"jP  ",)),
    "JPEG XL": (0, (b"\xff\x0a", b"\0\0\0\x0cJXL ")),
    "Photoshop": (0, (b"8BPS",)),
    "PDF": (0, (b"%PDF",)),
    "PostScript": (0, (b"%!PS",)),
    "SVG": (0, (b"<svg",)),
    "icon": (0, (b"\0\0\x01\0",)),
}
_OURS = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"GIF8", b"RIFF", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@contextmanager
def unfit_on_error() -> Iterator[None]:
    """Turn whatever Pillow raises on a hostile file into UnfitImage: it raises nearly everything."""
    try:
        yield
    except UnfitImage:
        raise
    except MemoryError:
        raise UnfitImage(
            "IMAGE_TOO_MANY_PIXELS", "the picture takes too much memory; send a smaller one"
        ) from None
    except Exception as error:
        if "truncated" in str(error).lower() or isinstance(error, EOFError):
            raise UnfitImage("IMAGE_TRUNCATED", "the picture breaks off; send the whole file") from error
        reason = f"{type(error).__name__}: {error}"[:200]
        raise UnfitImage("IMAGE_DAMAGED", f"the picture cannot be read ({reason}); save it anew") from error


def open_image(source: bytes) -> Image.Image:
    """Open a picture by its bytes alone, without decoding it.

    Raises UnfitImage for what is no picture, or one that no fitting can mend: animated, too large to decode,
    too small.
    """
    if not source:
        raise UnfitImage("IMAGE_EMPTY", "the file is empty (0 bytes); send a picture")
    with unfit_on_error():
        try:
            image = Image.open(io.BytesIO(source), formats=FORMATS)
        except UnidentifiedImageError:
            raise _unidentified(source) from None
        _check_size(*image.size)
        _check_animation(image)
        return image


def _unidentified(source: bytes) -> UnfitImage:
    for name, (offset, marks) in _OTHERS.items():
        if source[offset : offset + 12].startswith(marks):
            return UnfitImage("IMAGE_FORMAT_UNSUPPORTED", f"{name} is not supported; {_REMEDY}")
    if source.startswith(_OURS):
        return UnfitImage(
            "IMAGE_DAMAGED", "the picture's header is damaged or breaks off; send the whole file"
        )
    return UnfitImage(
        "IMAGE_NOT_A_PICTURE", f"the file starts with {source[:8]!r}, which no picture does; {_REMEDY}"
    )


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        message = f"{width}x{height} pixels are more than {MAX_PIXELS}; send a smaller picture"
        raise UnfitImage("IMAGE_TOO_MANY_PIXELS", message)
    if min(width, height) < MIN_SIDE:
        message = f"{width}x{height} pixels; both sides must have {MIN_SIDE} or more: send a larger picture"
        raise UnfitImage("IMAGE_TOO_SMALL", message)


def _check_animation(image: Image.Image) -> None:
    # A TIFF of several pages or a JPEG with a second view has a first picture that is the one meant.
    if image.format not in ("TIFF", "MPO") and getattr(image, "is_animated", False):
        raise UnfitImage("IMAGE_ANIMATED", f"the {image.format} is animated; send one of its frames")
