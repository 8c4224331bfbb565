"""Drawn scenes whose alpha is known exactly: cutouts without a fault, on which any alarm is a false one."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Floats = NDArray[np.float32]
SIZE = (1200, 1500)
_SEED = 11
_NOISE = 2.0  # levels
_OVER = 2  # the shape is drawn at so many times the size

Shape = Callable[[ImageDraw.ImageDraw, int, int], None]


def scenes(size: tuple[int, int] = SIZE) -> Iterator[tuple[str, Image.Image, Image.Image]]:
    """Name, RGB picture and exact L alpha of each scene; `size` is width and height in pixels."""
    random = np.random.default_rng(_SEED)
    studio = _gradient(size, (228, 226, 222), (198, 197, 196))
    white = _gradient(size, (250, 250, 250), (240, 240, 241))
    blue = _gradient(size, (60, 110, 160), (20, 60, 110))
    for name, shape, colour, ground in (
        ("spokes on studio grey", _spokes, (40, 42, 50), studio),
        ("strands on blue", _strands, (190, 140, 90), blue),
        ("perforated plate on white", _plate, (150, 60, 50), white),
        ("letters on studio grey", _letters, (20, 90, 60), studio),
        ("white box on white", _white_box, (226, 227, 230), white),
        ("vase on foliage", _vase, (235, 215, 190), _foliage(size, random)),
        ("bottle cropped below on blue", _bottle, (220, 180, 60), blue),
        ("three tins on white", _tins, (60, 70, 140), white),
    ):
        alpha = _drawn(shape, size)
        yield name, _composed(alpha, colour, ground, random), alpha


def _spokes(draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    x, y, radius = width // 2, height // 2, width * 2 // 5
    for number in range(36):
        angle = number * np.pi / 18
        end = (x + radius * np.cos(angle), y + radius * np.sin(angle))
        draw.line(((x, y), end), fill=255, width=_length(3 + number // 3, width))
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=255, width=_length(50, width))


def _strands(draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    random = np.random.default_rng(_SEED)
    x, y, radius = width // 2, height // 2, width // 5
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    for angle in random.random(300) * 2 * np.pi:
        far = radius * (1.2 + 0.5 * random.random())
        bend = angle + 0.2 * (random.random() - 0.5)
        points = [
            (x + r * np.cos(a), y + r * np.sin(a))
            for r, a in ((0.98 * radius, angle), ((radius + far) / 2, angle), (far, bend))
        ]
        draw.line(points, fill=255, width=_length(int(random.integers(2, 7)), width), joint="curve")


def _plate(draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    left, top, right, bottom = width // 5, height // 4, width * 4 // 5, height * 3 // 4
    draw.rounded_rectangle((left, top, right, bottom), _length(60, width), fill=255)
    hole = _length(40, width)
    for column in range(8):
        for row in range(8):
            x = left + (right - left) * (column + 0.5) / 8
            y = top + (bottom - top) * (row + 0.5) / 8
            draw.ellipse((x - hole, y - hole, x + hole, y + hole), fill=0)


def _letters(draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    draw.text((width // 10, height // 4), "Size", fill=255, font_size=width // 3)
    draw.text((width // 10, height // 2), "42 W", fill=255, font_size=width // 3)


def _white_box(draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    points = ((0.25, 0.4), (0.5, 0.3), (0.78, 0.38), (0.76, 0.7), (0.52, 0.8), (0.27, 0.72))
    draw.polygon([(x * width, y * height) for x, y in points], fill=255)


def _vase(draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    draw.ellipse((width * 0.3, height * 0.4, width * 0.7, height * 0.85), fill=255)
    draw.rectangle((width * 0.42, height * 0.2, width * 0.58, height * 0.5), fill=255)
    draw.ellipse((width * 0.38, height * 0.17, width * 0.62, height * 0.23), fill=255)


def _bottle(draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    draw.rounded_rectangle(
        (width * 0.36, height * 0.35, width * 0.64, height * 1.2), _length(120, width), fill=255
    )
    draw.rectangle((width * 0.45, height * 0.15, width * 0.55, height * 0.4), fill=255)


def _tins(draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    for left in (0.1, 0.4, 0.7):
        draw.rounded_rectangle(
            (left * width, height * 0.4, (left + 0.22) * width, height * 0.7), _length(40, width), fill=255
        )


def _length(pixels: int, width: int) -> int:
    """A length, given in pixels of a drawing 2400 wide, in one of this width."""
    return max(1, round(pixels * width / (SIZE[0] * _OVER)))


def _drawn(shape: Shape, size: tuple[int, int]) -> Image.Image:
    large = Image.new("L", (size[0] * _OVER, size[1] * _OVER), 0)
    shape(ImageDraw.Draw(large), *large.size)
    return large.reduce(_OVER)


def _gradient(size: tuple[int, int], above: tuple[int, int, int], below: tuple[int, int, int]) -> Floats:
    share = np.linspace(0, 1, size[1], dtype=np.float32)[:, None, None]
    rows = (1 - share) * np.array(above, np.float32) + share * np.array(below, np.float32)
    return np.broadcast_to(rows, (size[1], size[0], 3)).astype(np.float32)


def _foliage(size: tuple[int, int], random: np.random.Generator) -> Floats:
    """Blobs of green of all sizes, as leaves out of focus."""
    levels = np.zeros((size[1], size[0], 1), np.float32)
    for blur in (0.005, 0.012, 0.025):
        noise = Image.fromarray(random.integers(0, 256, (size[1], size[0]), np.uint8))
        plane = np.asarray(noise.filter(ImageFilter.GaussianBlur(blur * size[0])), np.float32)
        levels[:, :, 0] += (plane - plane.mean()) / max(1e-6, float(plane.std()))
    green = np.array((40, 90, 45), np.float32) + levels * np.array((12, 22, 10), np.float32)
    return np.asarray(np.clip(green, 0, 255), np.float32)


def _composed(
    alpha: Image.Image, colour: tuple[int, int, int], ground: Floats, random: np.random.Generator
) -> Image.Image:
    share = np.asarray(alpha, np.float32)[:, :, None] / 255
    light = np.linspace(1.1, 0.8, alpha.width, dtype=np.float32)[None, :, None]
    mixed = share * (np.array(colour, np.float32) * light) + (1 - share) * ground
    noisy = mixed + random.normal(0, _NOISE, mixed.shape)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
