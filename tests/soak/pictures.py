"""Pictures by their numbers, each of its own; most go to the endpoint as they are."""

import io
from functools import cache

from PIL import Image, ImageDraw

SIZE = (120, 90)
# Wider than the endpoint takes.
WIDE = (2400, 60)
# 144 MB once decoded, with another copy more than the process may take that decodes it.
POISON_SIZE = (6000, 6000)
# One picture of so many has to be fitted, and one of so many ends the process that tries.
FITTED_EVERY = 20
POISON_EVERY = 400
POISON_AT = 101


def is_poison(number: int) -> bool:
    """Whether the picture of this number cannot be decoded in the memory that there is."""
    return number % POISON_EVERY == POISON_AT


def picture(number: int) -> bytes:
    """A small JPEG with the number in it; now and then one to be fitted, or one that nobody can decode."""
    if is_poison(number):
        return _poison() + b"%d" % number
    return _small(number, WIDE if number % FITTED_EVERY == 0 else SIZE)


@cache
def _poison() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGBA", POISON_SIZE, (1, 2, 3, 128)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _small(number: int, size: tuple[int, int]) -> bytes:
    image = Image.new("RGB", size, (236, 236, 236))
    draw = ImageDraw.Draw(image)
    draw.ellipse((30, 20, 90, 70), fill=(40, 60, 80))
    draw.text((45, 38), str(number), fill=(255, 255, 255))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
