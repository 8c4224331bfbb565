"""Calibration of an endpoint: forms that it made itself beside those derived from its RGBA.

A few pictures are bought in all four forms, once for each endpoint. The table tells whether the derived forms
can stand for the endpoint's own, and whether the colours of its RGBA are free of the old background.
"""

import io
import json
import statistics
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from PIL import Image

from cutout.images.decode import unfit_on_error
from cutout.images.image import ENDPOINT_LIMITS
from cutout.images.unfit_image import UnfitImage
from cutout.outputs.form_differences import (
    FormDifference,
    crop_box,
    crop_difference,
    difference,
    edge_difference,
    on_white,
)

VERSION = 1
# Mean difference in levels along soft edges from which an RGBA's colours are not those of the sent picture.
DECONTAMINATED_FROM = 4.0

Softness = Callable[[Image.Image, Image.Image], float | None]

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
_HEADINGS = (
    "picture",
    "size",
    "mask mean/max",
    "whiteBK mean/max",
    "crop mean/max",
    "crop from alpha",
    "edge colours",
    "softness",
)


@dataclass(frozen=True)
class BoughtForms:
    """A sent picture and the endpoint's four forms of it, as files."""

    name: str
    sent: bytes = field(repr=False)
    rgba: bytes = field(repr=False)
    mask: bytes = field(repr=False)
    white: bytes = field(repr=False)
    crop: bytes = field(repr=False)


@dataclass(frozen=True)
class PictureCalibration:
    """Comparison of one picture's forms; sizes are (width, height) in pixels.

    `crop_level` is the lowest alpha whose bounding box has the size of the bought crop, None if there is
    none; the derived crop has 1. `edge_difference` is the mean difference in levels of the RGBA's colours
    from the sent picture over the `edge_pixels` of 0 < alpha < 255, None without any or if the sizes differ.
    """

    name: str
    sent_size: tuple[int, int]
    mask: FormDifference
    white: FormDifference
    crop: FormDifference
    crop_level: int | None
    edge_pixels: int
    edge_difference: float | None
    softness: float | None


@dataclass(frozen=True)
class Calibration:
    """Comparisons of all pictures of one calibration."""

    pictures: tuple[PictureCalibration, ...]
    version: int = VERSION

    @property
    def edge_difference(self) -> float | None:
        """Mean over the edge pixels of all pictures, in levels."""
        measured = [one for one in self.pictures if one.edge_difference is not None]
        count = sum(one.edge_pixels for one in measured)
        total = sum((one.edge_difference or 0.0) * one.edge_pixels for one in measured)
        return total / count if count else None

    @property
    def is_decontaminated(self) -> bool | None:
        """Whether the RGBA's edge colours are not the sent picture's; None if there is no soft edge."""
        difference = self.edge_difference
        return None if difference is None else difference > DECONTAMINATED_FROM

    @property
    def softness(self) -> float | None:
        """Median softness of the pictures that have one."""
        measured = [one.softness for one in self.pictures if one.softness is not None]
        return statistics.median(measured) if measured else None

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Calibration":
        """Read what `to_json` wrote. Raises ValueError if it is something else or of another version."""
        try:
            data = json.loads(text)
            version, pictures = data["version"], data["pictures"]
            read = cls(tuple(_picture(one) for one in pictures)) if version == VERSION else None
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"not a calibration ({error!r}); calibrate the endpoint again") from error
        if read is None:
            raise ValueError(
                f"a calibration of version {version}, not {VERSION}; calibrate the endpoint again"
            )
        return read

    def rows(self) -> list[tuple[str, ...]]:
        """Cells of the table: the headings, then a row for each picture."""
        return [_HEADINGS, *(_row(one) for one in self.pictures)]


def calibrate(pictures: Iterable[BoughtForms], softness: Softness | None = None) -> Calibration:
    """Compare each picture's bought forms with those derived from its RGBA.

    `softness` measures an alpha (mode L) beside the sent picture (mode RGB); without it there is no softness.
    Raises UnfitImage if a file cannot be read, ValueError if there is no picture.
    """
    compared = tuple(_compare(one, softness) for one in pictures)
    if not compared:
        raise ValueError("no picture to calibrate with; give at least one, better eight")
    return Calibration(compared)


def _compare(forms: BoughtForms, softness: Softness | None) -> PictureCalibration:
    sent, _ = _decoded(forms, "sent", "RGB")
    rgba, _ = _decoded(forms, "rgba", "RGBA")
    mask, mask_encoding = _decoded(forms, "mask", "L")
    white, white_encoding = _decoded(forms, "white", "RGB")
    crop, crop_encoding = _decoded(forms, "crop", "RGBA")
    alpha, is_comparable = rgba.getchannel("A"), rgba.size == sent.size
    pixels, edge = edge_difference(rgba, sent) if is_comparable else (0, None)
    level, box = crop_box(alpha, crop.size)
    return PictureCalibration(
        name=forms.name,
        sent_size=sent.size,
        mask=difference(mask, alpha, mask_encoding),
        white=difference(white, on_white(rgba), white_encoding),
        crop=crop_difference(crop, rgba.crop(box), crop_encoding),
        crop_level=level,
        edge_pixels=pixels,
        edge_difference=edge,
        softness=softness(sent, alpha) if softness and is_comparable else None,
    )


def _decoded(forms: BoughtForms, form: str, mode: str) -> tuple[Image.Image, str]:
    """Picture of a form in a mode, and its encoding. Raises UnfitImage that names both."""
    try:
        with unfit_on_error():
            image = Image.open(io.BytesIO(getattr(forms, form)), formats=_FORMATS)
            _check_size(*image.size)
            return image.convert(mode), str(image.format)
    except UnfitImage as error:
        raise UnfitImage(error.code, f"{forms.name}, {form}: {error.message}") from error


def _check_size(width: int, height: int) -> None:
    """Refuse a picture larger than any that is sent: decoding it might take any memory."""
    limit = ENDPOINT_LIMITS.max_side
    if max(width, height) > limit:
        message = (
            f"{width}x{height} pixels, and nothing larger than {limit} a side is sent; buy the forms again"
        )
        raise UnfitImage("IMAGE_TOO_MANY_PIXELS", message)


def _picture(data: dict[str, Any]) -> PictureCalibration:
    forms = {name: _form(data[name]) for name in ("mask", "white", "crop")}
    return PictureCalibration(**{**data, **forms, "sent_size": tuple(data["sent_size"])})


def _form(data: dict[str, Any]) -> FormDifference:
    sizes = {name: tuple(data[name]) for name in ("bought_size", "derived_size")}
    return FormDifference(**{**data, **sizes})


def _row(picture: PictureCalibration) -> tuple[str, ...]:
    differences = (_cell(one) for one in (picture.mask, picture.white, picture.crop))
    numbers = (picture.crop_level, picture.edge_difference, picture.softness)
    level, edge, softness = ("-" if one is None else f"{one:.3g}" for one in numbers)
    size = f"{picture.sent_size[0]}x{picture.sent_size[1]}"
    return (picture.name, size, *differences, level, edge, softness)


def _cell(difference: FormDifference) -> str:
    if difference.mean is not None:
        return f"{difference.mean:.2f}/{difference.largest} {difference.encoding}"
    (width, height), (derived_width, derived_height) = difference.bought_size, difference.derived_size
    return f"{width}x{height} for {derived_width}x{derived_height}"
