"""The four forms a result comes in, and how each is encoded."""

import io

from PIL import Image

from sandbox.matting.cut_out import cut_out
from sandbox.upload import ReturnForm

PNG_COMPRESS_LEVEL = 1  # of 9: speed counts here, size does not
JPEG_QUALITY = 92  # of 100
_ONE_PIXEL = (0, 0, 1, 1)  # what is left of a picture in which no subject is found


def render(image: bytes, form: ReturnForm | None) -> bytes:
    """Cut the subject out and encode it: PNG, but JPEG for `whiteBK`.

    Raises OSError if the pixels cannot be decoded.
    """
    with Image.open(io.BytesIO(image)) as opened:
        picture = opened.convert("RGB")
    cutout = cut_out(picture)
    alpha = cutout.getchannel("A")
    if form == "mask":
        return _png(alpha)
    if form == "whiteBK":
        return _jpeg(Image.composite(cutout.convert("RGB"), Image.new("RGB", picture.size, "white"), alpha))
    if form == "crop":
        return _png(cutout.crop(alpha.getbbox() or _ONE_PIXEL))
    return _png(cutout)


def _png(picture: Image.Image) -> bytes:
    encoded = io.BytesIO()
    picture.save(encoded, "PNG", compress_level=PNG_COMPRESS_LEVEL)
    return encoded.getvalue()


def _jpeg(picture: Image.Image) -> bytes:
    encoded = io.BytesIO()
    picture.save(encoded, "JPEG", quality=JPEG_QUALITY)
    return encoded.getvalue()
