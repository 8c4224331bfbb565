"""Preparation of a picture: fitted to the endpoint's limits, or unchanged if it is inside them already.

The limits come from the endpoint's page: JPEG, PNG or BMP of at most 3 MB, less than 2000x2000 pixels, 8 bits
per channel. Ambiguous wording is read strictly.
"""

from dataclasses import dataclass, field

from cutout.images.check import Limits, reasons_to_fit
from cutout.images.decode import OpenedImage, open_image, unfit_on_error
from cutout.images.fit import Fitted, fit

ENDPOINT_LIMITS = Limits(max_side=1999, max_bytes=2_999_999)
# For a picture that the endpoint refused although it was inside ENDPOINT_LIMITS.
PLAIN_LIMITS = Limits(max_side=1600, max_bytes=1_999_999)

# Version of the preparation. Increased when a source would be sent as other bytes: earlier cutouts are then
# bought again. 2: colours, orientation and pages as docs/reference/pictures.md says.
PREPARATION = 2

_EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "BMP": "bmp"}


@dataclass(frozen=True)
class PreparedImage:
    """A picture ready to be sent; width and height in pixels. `changes` describes what was done to it.

    `notes` are those changes that a person must know: which of several pictures was taken.
    """

    data: bytes = field(repr=False)
    media_type: str
    file_name: str
    width: int
    height: int
    changes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def prepare(source: bytes) -> PreparedImage:
    """Return the picture unchanged if the endpoint surely accepts it, else fitted. Raises UnfitImage.

    An unchanged picture is not decoded.
    """
    opened = open_image(source)
    return _unchanged(opened) or _prepared(opened, fit(opened, ENDPOINT_LIMITS, keep_alpha=True))


def unchanged(source: bytes) -> PreparedImage | None:
    """Return the picture unchanged if the endpoint surely accepts it, else None; only headers are read.

    A source with too many bytes is not read: a hostile header is as long as its file. Raises UnfitImage.
    """
    return None if len(source) > ENDPOINT_LIMITS.max_bytes else _unchanged(open_image(source))


def _unchanged(opened: OpenedImage) -> PreparedImage | None:
    with unfit_on_error():
        reasons = reasons_to_fit(opened, ENDPOINT_LIMITS)
    if reasons:
        return None
    image = opened.image
    return PreparedImage(opened.source, *_names(str(image.format)), image.width, image.height)


def refit(source: bytes) -> PreparedImage:
    """Return the picture as a small baseline JPEG, RGB, for a second try. Raises UnfitImage."""
    opened = open_image(source)
    return _prepared(opened, fit(opened, PLAIN_LIMITS, keep_alpha=False))


def _prepared(opened: OpenedImage, fitted: Fitted) -> PreparedImage:
    names, size = _names(fitted.format), (fitted.width, fitted.height)
    return PreparedImage(fitted.data, *names, *size, fitted.changes, opened.notes)


def _names(image_format: str) -> tuple[str, str]:
    return f"image/{image_format.lower()}", f"image.{_EXTENSIONS[image_format]}"
