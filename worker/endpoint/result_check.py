"""Making sure that a result is the picture that was asked for."""

import io
from dataclasses import dataclass, field

from PIL import Image

from worker.endpoint.errors import ResultUnavailable, ResultWrong, UnfitImage
from worker.endpoint.image_open import open_image, unfit_on_error
from worker.endpoint.png import SIGNATURE, read_png

_PNG_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}  # by colour type; a palette has none
_JPEG_CHANNELS = {"L": 1, "RGB": 3}
_ACCEPTED = {
    "rgba": {("png", 4)},
    "crop": {("png", 4)},
    "mask": {("png", 1), ("jpg", 1)},
    "whiteBK": {("png", 3), ("jpg", 3), ("png", 4)},  # its encoding is not documented
}


@dataclass(frozen=True)
class CutoutImage:
    """A checked result. `extension` without a dot; the size in pixels."""

    data: bytes = field(repr=False)
    media_type: str
    extension: str
    width: int
    height: int


def check_result(data: bytes, return_form: str | None, sent_width: int, sent_height: int) -> CutoutImage:
    """Check a result against the form asked for and the size in pixels of the picture that was sent.

    Raises ResultUnavailable if the file is damaged, since another download may be whole, and ResultWrong if
    it is whole and not what was asked for. The format is judged by the bytes.
    """
    form = return_form or "rgba"
    extension, channels, width, height = _read(data)
    if (extension, channels) not in _ACCEPTED[form]:
        raise ResultWrong(f"a {extension} of {channels} channels is not the form {form!r}")
    smaller = width <= sent_width and height <= sent_height
    if not (smaller if form == "crop" else (width, height) == (sent_width, sent_height)):
        raise ResultWrong(f"{width}x{height} pixels for the {sent_width}x{sent_height} sent, as {form!r}")
    if form == "whiteBK" and channels == 4 and not _is_opaque(data):  # noqa: PLR2004 - channels
        raise ResultWrong("transparent in parts, where a white background was asked for")
    media_type = "image/png" if extension == "png" else "image/jpeg"
    return CutoutImage(data, media_type, extension, width, height)


def _read(data: bytes) -> tuple[str, int, int, int]:
    """Give extension, channels, width and height."""
    if data.startswith(SIGNATURE):
        header = read_png(data, check_crc=True)
        if header is None:
            raise ResultUnavailable(f"the PNG of {len(data)} bytes is damaged or breaks off")
        return "png", _PNG_CHANNELS.get(header.colour_type, 0), header.width, header.height
    if data.startswith(b"\xff\xd8\xff"):
        return _read_jpeg(data)
    if data.lstrip()[:1] in (b"", b"<", b"{"):
        raise ResultUnavailable("a text came instead of a picture")  # a page about an outage, most likely
    raise ResultWrong(f"neither PNG nor JPEG: it starts with {data[:8]!r}")


def _read_jpeg(data: bytes) -> tuple[str, int, int, int]:
    try:
        image = open_image(data)
    except UnfitImage as error:
        raise ResultUnavailable(f"the JPEG of {len(data)} bytes is damaged: {error}") from error
    if not data.endswith(b"\xff\xd9"):
        raise ResultUnavailable(f"the JPEG of {len(data)} bytes breaks off")
    return "jpg", _JPEG_CHANNELS.get(image.mode, 0), image.width, image.height


def _is_opaque(data: bytes) -> bool:
    try:
        with unfit_on_error():
            return Image.open(io.BytesIO(data), formats=["PNG"]).getchannel("A").getextrema() == (255, 255)
    except UnfitImage as error:
        raise ResultUnavailable(f"the PNG is damaged: {error}") from error
