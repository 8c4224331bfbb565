"""Making sure that a result is the picture that was bought."""

from dataclasses import dataclass, field

from cutout.endpoint.endpoint_errors import ResultWrong
from cutout.endpoint.result_picture import ResultPicture, read_picture
from cutout.network import Blob

_ORDERED = {
    "rgba": {("png", "RGBA")},
    "crop": {("png", "RGBA")},
    "mask": {("png", "L"), ("jpg", "L")},
    "whiteBK": {("png", "RGB"), ("jpg", "RGB"), ("png", "RGBA")},  # its encoding is not documented
}
# Formats that a shop can show, and that hold alpha.
_SHOWN = ("png", "jpg", "webp")
_WITH_ALPHA = ("png", "webp")


@dataclass(frozen=True)
class CutoutImage:
    """A checked result. `extension` without a dot; the size in pixels.

    `warning` says in what it differs from what was ordered, though it is what was bought.
    """

    data: Blob = field(repr=False)
    media_type: str
    extension: str
    width: int
    height: int
    warning: str | None = None


def check_result(data: Blob, return_form: str | None, sent_width: int, sent_height: int) -> CutoutImage:
    """Check a result against the form that was bought and the size in pixels of the picture that was sent.

    A picture with what was bought passes as it came: another encoding or another size is a warning.
    Raises ResultDamaged or ResultText, since another download may be whole, and ResultWrong if it is whole
    and lacks what was bought.
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
    is_ordered = (picture.extension, picture.mode) in _ORDERED[form]
    # Pixels are looked at only where the header does not say it.
    if not is_ordered or (form in ("mask", "whiteBK") and picture.has_alpha):
        _require(picture, form)
    return [] if is_ordered else [f"a {picture} where another encoding is usual for {form!r}"]


def _require(picture: ResultPicture, form: str) -> None:
    """Raise ResultWrong unless the picture has what was bought."""
    match form:
        case "rgba" | "crop":
            lacks = None if picture.extension in _WITH_ALPHA and picture.has_alpha else "has no alpha of use"
        case _ if picture.extension not in _SHOWN:
            lacks = "is no PNG, JPEG or WEBP"
        case _ if not picture.can_be_decoded:
            lacks = "has too many pixels to be looked at"
        case "mask":
            lacks = None if picture.is_grey() else "is not grey throughout"
        case _:
            lacks = None if picture.is_opaque() else "is transparent in parts"
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
