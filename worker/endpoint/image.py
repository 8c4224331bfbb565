"""Bringing a picture inside the endpoint's limits, or leaving it alone if it is there already.

The limits come from the endpoint's page: JPEG, PNG or BMP of at most 3 MB, less than 2000x2000 pixels, 8 bits
a channel. What its wording leaves open is read in the stricter way.
"""

from dataclasses import dataclass, field

from worker.endpoint.image_check import Limits, reasons_to_fit
from worker.endpoint.image_fit import Fitted, fit
from worker.endpoint.image_open import open_image, unfit_on_error

ENDPOINT_LIMITS = Limits(max_side=1999, max_bytes=2_999_999)
# For a picture that the endpoint refused although it was inside the limits as we read them.
PLAIN_LIMITS = Limits(max_side=1600, max_bytes=1_999_999)

# Grows when the same source would be sent as other bytes: cutouts made before are then made anew.
PREPARATION = 1

_EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "BMP": "bmp"}


@dataclass(frozen=True)
class PreparedImage:
    """A picture ready to be sent, its size in pixels; `changes` tells people what was done to it."""

    data: bytes = field(repr=False)
    media_type: str
    file_name: str
    width: int
    height: int
    changes: tuple[str, ...] = ()


def prepare(source: bytes) -> PreparedImage:
    """Give the picture as it is if the endpoint surely takes it, else fitted. Raises UnfitImage."""
    image = open_image(source)
    with unfit_on_error():
        reasons = reasons_to_fit(image, source, ENDPOINT_LIMITS)
    if reasons:
        return _prepared(fit(image, ENDPOINT_LIMITS, keep_alpha=True))
    return PreparedImage(source, *_names(str(image.format)), image.width, image.height)


def refit(source: bytes) -> PreparedImage:
    """Encode the picture as the plainest there is: a smaller baseline JPEG, RGB. Raises UnfitImage."""
    return _prepared(fit(open_image(source), PLAIN_LIMITS, keep_alpha=False))


def _prepared(fitted: Fitted) -> PreparedImage:
    return PreparedImage(fitted.data, *_names(fitted.format), fitted.width, fitted.height, fitted.changes)


def _names(image_format: str) -> tuple[str, str]:
    return f"image/{image_format.lower()}", f"image.{_EXTENSIONS[image_format]}"
