"""Check that a result is what was bought."""

from dataclasses import dataclass, field

from cutout.endpoint.endpoint_errors import ResultWrong
from cutout.endpoint.result_picture import ResultPicture, read_picture
from cutout.network import Blob

_EXPECTED = {
    "rgba": {("png", "RGBA")},
    "crop": {("png", "RGBA")},
    "mask": {("png", "L"), ("jpg", "L")},
    "whiteBK": {("png", "RGB"), ("jpg", "RGB"), ("png", "RGBA")},  # its encoding is not documented
}
# Formats that a shop can display, and those with alpha.
_DISPLAYABLE = ("png", "jpg", "webp")
_WITH_ALPHA = ("png", "webp")


@dataclass(frozen=True)
class CutoutImage:
    """A checked result. `extension` without a dot; width and height in pixels.

    `warning` tells in what it differs from the order, though it is what was bought.
    """

    data: Blob = field(repr=False)
    media_type: str
    extension: str
    width: int
    height: int
    warning: str | None = None


def check_result(data: Blob, return_form: str | None, sent_width: int, sent_height: int) -> CutoutImage:
    """Check a result against the form that was bought and the size in pixels of the picture that was sent.

    A picture with what was bought is returned as it came: another encoding or size is a warning. Raises
    ResultDamaged or ResultText, because another download may succeed, and ResultWrong if it is complete and
    lacks what was bought.
    """
    form = return_form or "rgba"
    picture = read_picture(data)
    warnings = [*_encoding(picture, form), *_size(picture, form, sent_width, sent_height)]
    return CutoutImage(
        data,
        picture.media_type,
        picture.extension,
        picture.width,
        picture.height,
        "; ".join(warnings) or None,
    )


def _encoding(picture: ResultPicture, form: str) -> list[str]:
    is_expected = (picture.extension, picture.mode) in _EXPECTED[form]
    # Pixels are decoded only where the header does not decide.
    if not is_expected or (form in ("mask", "whiteBK") and picture.has_alpha):
        _require(picture, form)
    return [] if is_expected else [f"a {picture} where another encoding is usual for {form!r}"]


def _require(picture: ResultPicture, form: str) -> None:
    """Raise ResultWrong unless the picture has what was bought."""
    match form:
        case "rgba" | "crop":
            lacks = None if picture.extension in _WITH_ALPHA and picture.has_alpha else "has no usable alpha"
        case _ if picture.extension not in _DISPLAYABLE:
            lacks = "is not a PNG, JPEG or WEBP"
        case _ if not picture.can_be_decoded:
            lacks = "has too many pixels to be decoded"
        case "mask":
            lacks = None if picture.is_grey() else "is not entirely grey"
        case _:
            lacks = None if picture.is_opaque() else "is partly transparent"
    if lacks:
        raise ResultWrong(
            f"a {picture} of {picture.width}x{picture.height} {lacks}, as {form!r}", picture.found
        )


def _size(picture: ResultPicture, form: str, sent_width: int, sent_height: int) -> list[str]:
    smaller = picture.width <= sent_width and picture.height <= sent_height
    size = (picture.width, picture.height)
    if smaller if form == "crop" else size == (sent_width, sent_height):
        return []
    return [f"{picture.width}x{picture.height} pixels for the {sent_width}x{sent_height} sent"]
