"""A picture for measurements."""

import io
import random

from PIL import Image, ImageFilter

SIDE = 1000
LARGE = (4000, 3000)


def picture_of(kilobytes: int) -> bytes:
    """A JPEG of 1000x1000 pixels and about so many kilobytes, which the endpoint takes as it is."""
    noise = Image.frombytes("RGB", (SIDE, SIDE), random.Random(1).randbytes(SIDE * SIDE * 3))  # noqa: S311
    image = Image.new("RGB", (SIDE, SIDE), (235, 235, 235))
    image.paste(noise.filter(ImageFilter.GaussianBlur(1)), (SIDE // 4, SIDE // 4), None)
    best = b""
    for quality in range(30, 96):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        if len(buffer.getvalue()) > kilobytes * 1000:
            break
        best = buffer.getvalue()
    return best


def large_picture() -> bytes:
    """A JPEG of 4000x3000 pixels, which must be decoded and made smaller before it is sent."""
    small: Image.Image = Image.open(io.BytesIO(picture_of(300)))
    buffer = io.BytesIO()
    small.resize(LARGE, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()
