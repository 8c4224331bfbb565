"""Drawn pictures with their exact alpha."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

GREY, RED = (215, 214, 212), (150, 50, 40)
SIZE = (600, 600)

Draw = Callable[[ImageDraw.ImageDraw], None]


def drawn(draw: Draw, size: tuple[int, int] = SIZE) -> Image.Image:
    """An alpha with antialiased edges; coordinates are those of twice the size."""
    large = Image.new("L", (size[0] * 2, size[1] * 2), 0)
    draw(ImageDraw.Draw(large))
    return large.reduce(2)


def picture(alpha: Image.Image, ground: tuple[int, int, int] = GREY, noise: float = 1.5) -> Image.Image:
    """A red product of this alpha on an even ground, with noise of so many levels."""
    clean = Image.composite(Image.new("RGB", alpha.size, RED), Image.new("RGB", alpha.size, ground), alpha)
    levels = np.asarray(clean) + np.random.default_rng(2).normal(0, noise, (alpha.height, alpha.width, 3))
    return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))


def jug(draw: ImageDraw.ImageDraw) -> None:
    """A body with a handle: one hole through which the background shows."""
    draw.rounded_rectangle((350, 300, 750, 950), 90, fill=255)
    draw.ellipse((650, 400, 950, 800), outline=255, width=50)
