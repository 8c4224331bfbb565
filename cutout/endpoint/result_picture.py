"""Pictures as results: format, colours and size from the header, and pixels where they decide."""

import threading
from contextlib import nullcontext
from dataclasses import dataclass, field

from PIL import Image, ImageChops

from cutout.endpoint.endpoint_errors import FoundFile, ResultDamaged, ResultText, ResultWrong
from cutout.images.decode import MAX_PIXELS, unfit_on_error
from cutout.images.png import SIGNATURE, read_png
from cutout.images.unfit_image import UnfitImage
from cutout.network import Blob, stream_of

_PNG_MODES = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}
_COLOURS = {"L": "grey", "1": "black and white", "P": "palette", "LA": "grey with alpha", "RGBA": "RGBA"}
_TYPES = {
    "PNG": ("png", "image/png"),
    "JPEG": ("jpg", "image/jpeg"),
    "MPO": ("jpg", "image/jpeg"),
    "WEBP": ("webp", "image/webp"),
    "GIF": ("gif", "image/gif"),
    "BMP": ("bmp", "image/bmp"),
    "TIFF": ("tif", "image/tiff"),
}
# A JPEG with a second view opens as MPO.
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")
_OPAQUE = (255, 255)
_RIFF_HEADER = 8  # bytes that its own length leaves out
_LONGEST_WEBP = 64_000_000  # bytes; Pillow always reads it whole
# Larger pictures are decoded by one thread at a time, to bound the memory of all threads.
_LARGE_PIXELS = 8_000_000
_ONE_LARGE = threading.Lock()


@dataclass(frozen=True, slots=True)
class ResultPicture:
    """A complete picture. `mode` as in Pillow; `has_alpha` includes transparency by palette or by colour."""

    data: Blob = field(repr=False)
    extension: str
    media_type: str
    mode: str
    has_alpha: bool
    width: int
    height: int

    def __str__(self) -> str:
        colours = _COLOURS.get(self.mode, self.mode)
        transparency = " with transparency" if self.has_alpha and self.mode not in ("LA", "RGBA") else ""
        return f"{colours} {self.extension}{transparency}"

    @property
    def found(self) -> FoundFile:
        """The picture as a received file."""
        return FoundFile(self.data, self.media_type, self.extension, self.width, self.height)

    @property
    def can_be_decoded(self) -> bool:
        """Whether its pixels fit into memory."""
        return self.width * self.height <= MAX_PIXELS

    def is_opaque(self) -> bool:
        """Whether no pixel is transparent. Raises ResultDamaged."""
        return not self.has_alpha or self._decoded("RGBA").getchannel("A").getextrema() == _OPAQUE

    def is_grey(self) -> bool:
        """Whether every pixel is an opaque grey. Raises ResultDamaged."""
        if self.mode in ("L", "1", "I", "I;16") and not self.has_alpha:
            return True
        red, green, blue, alpha = self._decoded("RGBA").split()
        same = all(ImageChops.difference(red, other).getbbox() is None for other in (green, blue))
        return same and alpha.getextrema() == _OPAQUE

    def _decoded(self, mode: str) -> Image.Image:
        try:
            with _ONE_LARGE if self.width * self.height > _LARGE_PIXELS else nullcontext(), unfit_on_error():
                return Image.open(stream_of(self.data), formats=_FORMATS).convert(mode)
        except UnfitImage as error:
            raise ResultDamaged(f"the {self.extension} is damaged: {error}", FoundFile(self.data)) from error


def read_picture(data: Blob) -> ResultPicture:
    """Read a result; its format is recognised by its bytes alone.

    Raises ResultText, ResultDamaged if it is incomplete or fails its checksums, ResultWrong for a file that
    is neither a picture nor a text, or has more than one frame.
    """
    if data[:8] == SIGNATURE:
        return _png(data)
    if data[:64].lstrip()[:1] in (b"", b"<", b"{", b"["):
        raise ResultText(f"a text of {len(data)} bytes came instead of a picture", FoundFile(data))
    return _other(data)


def _png(data: Blob) -> ResultPicture:
    header = read_png(data, check_crc=True)
    if header is None:
        raise ResultDamaged(f"the PNG of {len(data)} bytes is damaged or incomplete", FoundFile(data))
    mode = _PNG_MODES.get(header.colour_type, "?")
    has_alpha = mode in ("LA", "RGBA") or b"tRNS" in header.chunks
    return ResultPicture(data, "png", "image/png", mode, has_alpha, header.width, header.height)


def _other(data: Blob) -> ResultPicture:
    is_jpeg = data[:3] == b"\xff\xd8\xff"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        _check_webp(data)
    try:
        with unfit_on_error():
            image = Image.open(stream_of(data), formats=_FORMATS)
            frames = getattr(image, "n_frames", 1)
    except UnfitImage as error:
        if is_jpeg:
            raise ResultDamaged(
                f"the JPEG of {len(data)} bytes is damaged: {error}", FoundFile(data)
            ) from error
        raise ResultWrong(f"no known picture format: it starts with {data[:8]!r}", FoundFile(data)) from error
    if is_jpeg and data[-2:] != b"\xff\xd9":
        raise ResultDamaged(f"the JPEG of {len(data)} bytes is incomplete", FoundFile(data))
    extension, media_type = _TYPES[image.format or ""]
    read = ResultPicture(
        data, extension, media_type, image.mode, image.has_transparency_data, image.width, image.height
    )
    if frames > 1 and not is_jpeg:
        raise ResultWrong(f"a {extension} of {frames} frames", read.found)
    return read


def _check_webp(data: Blob) -> None:
    if len(data) < _RIFF_HEADER + int.from_bytes(data[4:8], "little"):
        raise ResultDamaged(f"the WEBP of {len(data)} bytes is incomplete", FoundFile(data))
    if len(data) > _LONGEST_WEBP:
        raise ResultWrong(f"a WEBP of {len(data)} bytes, which does not fit into memory", FoundFile(data))
