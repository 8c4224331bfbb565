"""Bringing a picture inside the endpoint's limits, or leaving it alone if it is there already.

The limits come from the endpoint's page: JPEG, PNG or BMP of at most 3 MB, less than 2000x2000 pixels, 8 bits
a channel. What its wording leaves open is read in the stricter way.
"""

from dataclasses import dataclass, field

from cutout.images.check import Limits, reasons_to_fit
from cutout.images.decode import OpenedImage, open_image, unfit_on_error
from cutout.images.fit import Fitted, fit

ENDPOINT_LIMITS = Limits(max_side=1999, max_bytes=2_999_999)
# For a picture that the endpoint refused although it was inside the limits as we read them.
PLAIN_LIMITS = Limits(max_side=1600, max_bytes=1_999_999)

# Grows when the same source would be sent as other bytes: cutouts made before are then made anew.
# 2: colours, orientation and pages as docs/reference/pictures.md says.
PREPARATION = 2

_EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "BMP": "bmp"}


@dataclass(frozen=True)
class PreparedImage:
    """A picture ready to be sent, its size in pixels; `changes` tells people what was done to it.

    `said` is the part of it that they have to know: which of several pictures was taken.
    """

    data: bytes = field(repr=False)
    media_type: str
    file_name: str
    width: int
    height: int
    changes: tuple[str, ...] = ()
    said: tuple[str, ...] = ()


def prepare(source: bytes) -> PreparedImage:
    """Give the picture as it is if the endpoint surely takes it, else fitted. Raises UnfitImage.

    A picture that is sent as it is is not decoded.
    """
    opened = open_image(source)
    return _as_it_is(opened) or _prepared(opened, fit(opened, ENDPOINT_LIMITS, keep_alpha=True))


def as_it_is(source: bytes) -> PreparedImage | None:
    """The picture byte for byte if the endpoint surely takes it so; only headers are read.

    Nothing is read of one with too many bytes: a hostile header is as long as its file. Raises UnfitImage.
    """
    return None if len(source) > ENDPOINT_LIMITS.max_bytes else _as_it_is(open_image(source))


def _as_it_is(opened: OpenedImage) -> PreparedImage | None:
    with unfit_on_error():
        reasons = reasons_to_fit(opened, ENDPOINT_LIMITS)
    if reasons:
        return None
    image = opened.image
    return PreparedImage(opened.source, *_names(str(image.format)), image.width, image.height)


def refit(source: bytes) -> PreparedImage:
    """Encode the picture as the plainest there is: a smaller baseline JPEG, RGB. Raises UnfitImage."""
    opened = open_image(source)
    return _prepared(opened, fit(opened, PLAIN_LIMITS, keep_alpha=False))


def _prepared(opened: OpenedImage, fitted: Fitted) -> PreparedImage:
    names, size = _names(fitted.format), (fitted.width, fitted.height)
    return PreparedImage(fitted.data, *names, *size, fitted.changes, opened.said)


def _names(image_format: str) -> tuple[str, str]:
    return f"image/{image_format.lower()}", f"image.{_EXTENSIONS[image_format]}"
