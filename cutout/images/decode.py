"""Opening of an untrusted picture: its header is read, nothing is decoded."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from PIL import Image, UnidentifiedImageError

from cutout.images.jpeg import read_jpeg, refuse_unsupported
from cutout.images.kinds import kind_of, raw_refused
from cutout.images.orientation import UPRIGHT, orientation
from cutout.images.parts import refuse_many_parts
from cutout.images.tiff_page import Page, choose_page
from cutout.images.unfit_image import UnfitImage

MIN_SIDE = 33  # pixels; sibling endpoints want more than 32x32
MAX_PIXELS = 80_000_000  # some 320 MB decoded

# Pillow's limit warns at one size and raises at another; MAX_PIXELS is lower than both.
Image.MAX_IMAGE_PIXELS = None

_UNSUPPORTED = (
    "unsupported",
    "not supported",
    "not yet supported",
    "not available",
    "unknown pixel",
    "unknown compression",
)


@dataclass(frozen=True, slots=True)
class OpenedImage:
    """A picture that was opened. `turn` is the orientation to apply after decoding.

    `levels` is the highest value of a grey picture of more than 8 bits. `notes` tell which of several
    pictures was taken.
    """

    image: Image.Image
    source: bytes = field(repr=False)
    turn: int = UPRIGHT
    levels: int = 65535
    is_white_zero: bool = False
    notes: tuple[str, ...] = ()


@contextmanager
def unfit_on_error() -> Iterator[None]:
    """Turn any exception that Pillow raises on a hostile file into UnfitImage."""
    try:
        yield
    except UnfitImage:
        raise
    except MemoryError:
        raise UnfitImage(
            "IMAGE_TOO_MANY_PIXELS", "the picture takes too much memory; send a smaller one"
        ) from None
    except Exception as error:
        text = str(error).lower()
        if "truncated" in text or isinstance(error, EOFError):
            raise UnfitImage("IMAGE_TRUNCATED", "the picture is incomplete; send the whole file") from error
        reason = f"{type(error).__name__}: {error}"[:200]
        if any(words in text for words in _UNSUPPORTED):
            message = f"a picture of an unsupported kind ({reason}); save it as JPEG or PNG"
            raise UnfitImage("IMAGE_FORMAT_UNSUPPORTED", message) from error
        raise UnfitImage("IMAGE_DAMAGED", f"the picture cannot be read ({reason}); save it again") from error


def open_image(source: bytes) -> OpenedImage:
    """Open a picture by its bytes alone, without decoding it.

    Raises UnfitImage for a file that is no picture, and for a picture that no fitting can fix: animated, too
    large to decode, with too many parts, too small, a camera raw.
    """
    if not source:
        raise UnfitImage("IMAGE_EMPTY", "the file is empty (0 bytes); send a picture")
    kind = kind_of(source)
    with unfit_on_error():
        refuse_many_parts(source, kind)
        return _open_tiff(source) if kind == "TIFF" else _open(source, kind)


def _open(source: bytes, kind: str) -> OpenedImage:
    try:
        image = Image.open(io.BytesIO(source), formats=(kind,))
    except UnidentifiedImageError:
        raise _unidentified(source, kind) from None
    _check_size(*image.size)
    _check_animation(image)
    return OpenedImage(image, source, orientation(image, source), notes=_one_of_several(image))


def _open_tiff(source: bytes) -> OpenedImage:
    """Open the full-size picture of a TIFF, wherever it is in the file."""
    page = choose_page(source)
    if page.raw is not None:
        raise raw_refused(page.raw)
    if page.size is not None:
        _check_size(*page.size)
    try:
        image = Image.open(io.BytesIO(page.source), formats=("TIFF",))
    except (UnidentifiedImageError, KeyError):
        raise _unidentified_tiff(page) from None
    _check_size(*image.size)
    if page.profile:
        image.info["icc_profile"] = page.profile
    turn = orientation(image, source)
    if page.turn is not None:
        turn = page.turn
    return OpenedImage(image, source, turn, page.levels, page.is_white_zero, page.notes)


def _unidentified(source: bytes, kind: str) -> UnfitImage:
    if kind == "JPEG":
        refuse_unsupported(read_jpeg(source))
    return UnfitImage("IMAGE_DAMAGED", "the picture's header is damaged or incomplete; send the whole file")


def _unidentified_tiff(page: Page) -> UnfitImage:
    if page.is_whole:
        return UnfitImage(
            "IMAGE_FORMAT_UNSUPPORTED",
            f"a TIFF of {page.kind} is not supported; save it as 8 or 16 bits a channel, RGB",
        )
    return UnfitImage("IMAGE_DAMAGED", "the picture's header is damaged or incomplete; send the whole file")


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        message = f"{width}x{height} pixels are more than {MAX_PIXELS}; send a smaller picture"
        raise UnfitImage("IMAGE_TOO_MANY_PIXELS", message)
    if min(width, height) < MIN_SIDE:
        message = f"{width}x{height} pixels; both sides must have {MIN_SIDE} or more: send a larger picture"
        raise UnfitImage("IMAGE_TOO_SMALL", message)


def _check_animation(image: Image.Image) -> None:
    # The first picture of a JPEG with a second view is the one meant, and a HEIC names its main one.
    if image.format not in ("MPO", "HEIF") and getattr(image, "is_animated", False):
        raise UnfitImage("IMAGE_ANIMATED", f"the {image.format} is animated; send one of its frames")


def _one_of_several(image: Image.Image) -> tuple[str, ...]:
    frames = getattr(image, "n_frames", 1)
    if frames == 1:
        return ()
    return (f"picture {image.tell() + 1} of {frames} taken: the main one",)
