"""The endpoint's limits on pictures, each with the documented code it is refused with."""

from sandbox.error_codes import CallRefusedError
from sandbox.image_header import ImageHeader, UndecodableImageError, read_header

MAX_BYTES = 3_000_000  # "3 MB"; the smaller reading of it
SIDE_LIMIT = 2000  # pixels; a side must be below it
MIN_SIDE = 33  # pixels; undocumented here, its sibling endpoints want more than 32
DEPTH = 8  # bits of a channel

# Pictures of kinds that are known and refused; bytes that are no picture at all get another code.
_REFUSED_SIGNATURES = (b"GIF8", b"RIFF", b"II*\0", b"MM\0*", b"\0\0\1\0", b"8BPS", b"\0\0\0\x0cjP")


def check_image(data: bytes) -> None:
    """Raise the documented code of the first limit the picture breaks. Pixels are not decoded."""
    if len(data) > MAX_BYTES:
        raise CallRefusedError("FILE_SIZE_EXCEEDS_LIMIT")
    try:
        header = read_header(data)
    except UndecodableImageError as undecodable:
        raise CallRefusedError("FILE_DECODING_FAILURE") from undecodable
    if header is None:
        raise CallRefusedError(
            "UNSUPPORTED_FILE_TYPES" if _is_known_picture(data) else "FILE_DECODING_FAILURE"
        )
    _check_kind(header)
    _check_size(header)


def _is_known_picture(data: bytes) -> bool:
    return data.startswith(_REFUSED_SIGNATURES) or data[4:8] == b"ftyp"


def _check_kind(header: ImageHeader) -> None:
    if header.depth != DEPTH or header.colour in ("palette", "cmyk"):
        raise CallRefusedError("UNSUPPORTED_FILE_TYPES")
    if header.colour == "grey":
        raise CallRefusedError("ERROR_UNSUPPORTED_GRAYSCALE_IMAGE")


def _check_size(header: ImageHeader) -> None:
    if max(header.width, header.height) >= SIDE_LIMIT:
        raise CallRefusedError("FILE_RESOLUTION_EXCEEDS_LIMITS")
    if min(header.width, header.height) < MIN_SIDE:
        raise CallRefusedError("ERROR_LOW_RESOLUTION")
